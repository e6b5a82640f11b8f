"""The executor for Ray clusters: one actor per worker; tasks are sent as workers become free.

Ray's own restarts and retries are not used: they count the death of a worker against every task
that it had, so that a task which kills its worker takes its neighbours with it.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from recoseg.allocator import KEEPING
from recoseg.cores import SHARING
from recoseg.errors import MissingExtraError, RecosegError
from recoseg.executors.protocol import LANES, Advance, TaskFailed, Worker

T = TypeVar("T")
R = TypeVar("R")

_ATTEMPTS = 3
"""How many workers may die of a task before it counts as failed."""

_WINDOW = 4
"""Tasks per worker that may be started before the oldest unfinished task has ended."""

_LOOK = 2.0
"""Seconds from one look for machines that have joined to the next."""


class RayExecutor:
    """Runs workers as Ray actors, on this machine or on many.

    Every machine needs this version of recoseg, the encoder's weights and access to the sources
    (a shared folder or a URL). Results are sent back to this process, which alone writes files.

    Args:
        workers: Number of workers; by default as many as the cluster has room for, also on
            machines that join while a team works.
        cpus: CPU cores per worker, which is also its number of compute threads.
        gpus: GPUs per worker; may be a fraction.
        address: `local` for a cluster of this machine alone, which other machines cannot reach;
            `auto` for the cluster that this machine belongs to; or `ray://HOST:PORT`.

    Raises:
        MissingExtraError: Ray is not installed.
    """

    def __init__(
        self,
        workers: int | None = None,
        *,
        cpus: int = 1,
        gpus: float = 0,
        address: str = "local",
    ) -> None:
        self._ray = _import_ray()
        self._workers = workers
        self.cpus = cpus
        self._needs = {"num_cpus": cpus, "num_gpus": gpus}
        self._address = address

    @contextmanager
    def connection(self) -> Iterator[None]:
        """See `Executor`. An existing connection to a cluster is used, and stays open."""
        ray = self._ray
        connected = ray.is_initialized()
        if not connected:
            local = {"_node_ip_address": "127.0.0.1"} if self._address == "local" else {}
            ray.init(address=self._address, include_dashboard=False if local else None, **local)
        try:
            yield
        finally:
            if not connected:
                ray.shutdown()

    @contextmanager
    def team(self, build: Callable[[], Worker[T, R]]) -> Iterator[_RayTeam[T, R]]:
        """See `Executor`."""
        with self.connection():
            wanted = self._workers
            self._check_room()
            room = self._room if wanted is None else lambda: wanted
            team = _RayTeam(self._ray, build, room, self._needs)
            try:
                yield team
            finally:
                team.close()

    def _room(self) -> int:
        """How many workers the cluster's machines have room for at present."""
        total = self._ray.cluster_resources()
        room = [total.get("CPU", 0) // self._needs["num_cpus"]]
        if self._needs["num_gpus"]:
            room.append(total.get("GPU", 0) // self._needs["num_gpus"])
        return int(min(room))

    def _check_room(self) -> None:
        if self._workers is None and self._room() < 1:
            total = self._ray.cluster_resources()
            raise RecosegError(
                f"The Ray cluster has {total.get('CPU', 0):g} CPUs and {total.get('GPU', 0):g} "
                f"GPUs. One worker needs {self._needs['num_cpus']} CPUs and "
                f"{self._needs['num_gpus']:g} GPUs: ask for fewer, or add machines."
            )


class _Host:
    """The Ray actor: holds the worker and records the steps that it counts."""

    def __init__(self, build: Callable[[], Worker[Any, Any]]) -> None:
        self._build = build

    def start(self) -> object:
        self._worker = self._build()
        return self._worker.identity

    def run(self, task: object) -> tuple[object, list[tuple[int, int]]]:
        steps: list[tuple[int, int]] = []

        def advance(count: int = 1, *, failed: int = 0) -> None:
            steps.append((count, failed))

        return self._worker(task, advance), steps


@dataclass
class _Task:
    """A task that has been started: its number, its content, and how many workers died of it."""

    number: int
    content: Any
    deaths: int = 0


@dataclass(eq=False)
class _Slot:
    """One of the team's workers: its actor, and its unfinished tasks by their object references.

    While the worker starts, its only task is None.
    """

    actor: Any
    tasks: dict[Any, _Task | None]

    @property
    def free(self) -> int:
        """How many tasks it can take; a task that is repeated after a death runs alone."""
        alone = any(task is None or task.deaths for task in self.tasks.values())
        return 0 if alone else LANES - len(self.tasks)


class _RayTeam(Generic[T, R]):
    def __init__(
        self,
        ray: Any,
        build: Callable[[], Worker[T, R]],
        room: Callable[[], int],
        needs: dict[str, Any],
    ) -> None:
        self._ray = ray
        self._room = room
        self._looked = 0.0
        # Ray starts threads in its processes before a worker is built, which is too late for
        # `keep_freed_memory` and `share_cores`: these variables take their place.
        self._host = ray.remote(_Host).options(
            max_concurrency=LANES, runtime_env={"env_vars": KEEPING | SHARING}, **needs
        )
        self._build = ray.put(build)
        self._failed_starts = 0
        self._identity: object = None
        self._slots: list[_Slot] = []
        try:
            self._grow()
            while self._identity is None:
                self._wait_for_one({})
        except BaseException:
            self.close()
            raise

    @property
    def identity(self) -> object:
        return self._identity

    def run(self, tasks: Iterable[T], advance: Advance) -> Iterator[R | TaskFailed]:
        fresh = (_Task(number, task) for number, task in enumerate(tasks))
        repeated: deque[_Task] = deque()
        done: dict[int, tuple[Any, list[tuple[int, int]]] | TaskFailed] = {}
        sent, finished = 0, 0
        more = True
        while True:
            while more or repeated:
                slot = max(self._slots, key=lambda slot: slot.free)
                if repeated:
                    if slot.free < LANES:
                        break
                    self._send(slot, repeated.popleft())
                elif slot.free and sent - finished < _WINDOW * len(self._slots):
                    task = next(fresh, None)
                    more = task is not None
                    if task is not None:
                        self._send(slot, task)
                        sent += 1
                else:
                    break
            if finished == sent and not more:
                return
            repeated += self._wait_for_one(done)
            while finished in done:
                found = done.pop(finished)
                finished += 1
                if isinstance(found, TaskFailed):
                    yield found
                    continue
                result, counted = found
                for steps, failed in counted:
                    advance(steps, failed=failed)
                yield result

    def close(self) -> None:
        for slot in self._slots:
            with suppress(Exception):
                self._ray.kill(slot.actor)

    def _grow(self) -> None:
        """Start workers for machines that have joined, at most as many as there is room for.

        A worker of a machine that has left waits for another, so none is started beside it.
        """
        if time.monotonic() < self._looked + _LOOK:
            return
        for _ in range(self._room() - len(self._slots)):
            self._slots.append(self._start_slot())
        self._looked = time.monotonic()

    def _start_slot(self) -> _Slot:
        actor = self._host.remote(self._build)
        return _Slot(actor, {actor.start.remote(): None})

    def _send(self, slot: _Slot, task: _Task) -> None:
        slot.tasks[slot.actor.run.remote(task.content)] = task

    def _wait_for_one(self, done: dict[int, Any]) -> list[_Task]:
        """Wait until a start or task ends, or until it is time to look for machines.

        Returns:
            The tasks to repeat if a worker has died.
        """
        self._grow()
        slots = {reference: slot for slot in self._slots for reference in slot.tasks}
        ready, _ = self._ray.wait(list(slots), num_returns=1, timeout=_LOOK)
        if not ready:
            return []
        reference = ready[0]
        slot = slots[reference]
        try:
            result = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            return self._replace(slot, error, done)
        task = slot.tasks.pop(reference)
        if task is not None:
            done[task.number] = result
        elif self._identity is None:
            self._identity = result
        elif result != self._identity:
            raise RecosegError(
                f"Two workers differ: {self._identity} and {result}. Expected the same encoder "
                "and precision on all machines. Set the precision with --precision."
            )
        return []

    def _replace(self, slot: _Slot, error: Exception, done: dict[int, Any]) -> list[_Task]:
        """Start a new worker for one that has died; returns the tasks that may be repeated."""
        reason = " ".join(str(error).split())[:300]
        left = list(slot.tasks.values())
        if None in left:
            self._failed_starts += 1
            if self._failed_starts > _ATTEMPTS * len(self._slots):
                raise RecosegError(f"The workers die while they start: {reason}") from error
        with suppress(Exception):
            self._ray.kill(slot.actor)
        self._slots[self._slots.index(slot)] = self._start_slot()
        repeated = []
        for task in left:
            if task is None:
                continue
            task.deaths += 1
            if task.deaths < _ATTEMPTS:
                repeated.append(task)
            else:
                done[task.number] = TaskFailed(
                    f"{task.deaths} workers died of it; the last one: {reason}"
                )
        return repeated


def _import_ray() -> Any:
    # These are read when Ray is imported, and by the processes that it starts.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingExtraError("ray", "ray", "The executor `ray`") from error
    return ray
