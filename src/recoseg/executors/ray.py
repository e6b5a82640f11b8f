"""The executor of a Ray cluster: a worker per actor, tasks handed out as places become free."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from recoseg.errors import MissingExtraError, RecosegError
from recoseg.executors.protocol import LANES, Advance, TaskFailed, Worker
from recoseg.memory import KEEPING

T = TypeVar("T")
R = TypeVar("R")

_ATTEMPTS = 3
_WINDOW = 4
"""Tasks per worker that may be ahead of the oldest one that is not finished."""


class RayExecutor:
    """Workers that are Ray actors, on this machine or many.

    Every machine needs this version of recoseg, the encoder's weights and the sources (a shared
    folder or a URL). Results come back to this process, which alone writes.

    Args:
        workers: How many; by default as many as the cluster has room for.
        cpus: Processors that each of them takes, and threads of its products.
        gpus: Graphics processors that each of them takes.
        address: `local` for this machine alone, reachable from nowhere else; `auto` for the
            cluster that this machine belongs to; or `ray://HOST:PORT`.

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
        self._needs = {"num_cpus": cpus, "num_gpus": gpus}
        self._address = address

    @contextmanager
    def connection(self) -> Iterator[None]:
        """See `Executor`. A cluster that is connected already is used and left as it is."""
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
            team = _RayTeam(self._ray, build, self._workers or self._room(), self._needs)
            try:
                yield team
            finally:
                team.close()

    def _room(self) -> int:
        total = self._ray.cluster_resources()
        room = [total.get("CPU", 0) // self._needs["num_cpus"]]
        if self._needs["num_gpus"]:
            room.append(total.get("GPU", 0) // self._needs["num_gpus"])
        if min(room) < 1:
            raise RecosegError(
                f"The Ray cluster has {total.get('CPU', 0):g} CPUs and {total.get('GPU', 0):g} "
                f"GPUs. Expected room for one worker of {self._needs['num_cpus']} and "
                f"{self._needs['num_gpus']:g}."
            )
        return int(min(room))


class _Host:
    """What runs in the actor: the worker, and the steps that it counts."""

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
    """A task under way: its number, what it is, and how many workers have died of it."""

    number: int
    content: Any
    deaths: int = 0


@dataclass(eq=False)
class _Seat:
    """A place for a worker: its actor, and the tasks that it has, by the reference of each.

    A worker that is starting has one task, None, and is given no other.
    """

    actor: Any
    tasks: dict[Any, _Task | None]

    @property
    def free(self) -> int:
        """Tasks that it can still take; one that comes back after a death has it alone."""
        alone = any(task is None or task.deaths for task in self.tasks.values())
        return 0 if alone else LANES - len(self.tasks)


class _RayTeam(Generic[T, R]):
    def __init__(
        self, ray: Any, build: Callable[[], Worker[T, R]], workers: int, needs: dict[str, Any]
    ) -> None:
        self._ray = ray
        # Ray's processes have threads of their own before a worker is built in them: too late for
        # `keep_freed_memory`.
        self._host = ray.remote(_Host).options(
            max_concurrency=LANES, runtime_env={"env_vars": KEEPING}, **needs
        )
        self._build = ray.put(build)
        self._failed_starts = 0
        self._identity: object = None
        self._seats: list[_Seat] = []
        try:
            self._seats += [self._hire() for _ in range(workers)]
            while self._identity is None:
                self._take_next({})
        except BaseException:
            self.close()
            raise

    @property
    def identity(self) -> object:
        return self._identity

    def run(self, tasks: Iterable[T], advance: Advance) -> Iterator[R | TaskFailed]:
        fresh = (_Task(number, task) for number, task in enumerate(tasks))
        again: deque[_Task] = deque()
        done: dict[int, tuple[Any, list[tuple[int, int]]] | TaskFailed] = {}
        given, finished = 0, 0
        more = True
        while True:
            while more or again:
                seat = max(self._seats, key=lambda seat: seat.free)
                if again:
                    if seat.free < LANES:
                        break
                    self._give(seat, again.popleft())
                elif seat.free and given - finished < _WINDOW * len(self._seats):
                    task = next(fresh, None)
                    more = task is not None
                    if task is not None:
                        self._give(seat, task)
                        given += 1
                else:
                    break
            if finished == given and not more:
                return
            again += self._take_next(done)
            while finished in done:
                outcome = done.pop(finished)
                finished += 1
                if isinstance(outcome, TaskFailed):
                    yield outcome
                    continue
                for steps, failed in outcome[1]:
                    advance(steps, failed=failed)
                yield outcome[0]

    def close(self) -> None:
        for seat in self._seats:
            with suppress(Exception):
                self._ray.kill(seat.actor)

    def _hire(self) -> _Seat:
        actor = self._host.remote(self._build)
        return _Seat(actor, {actor.start.remote(): None})

    def _give(self, seat: _Seat, task: _Task) -> None:
        seat.tasks[seat.actor.run.remote(task.content)] = task

    def _take_next(self, done: dict[int, Any]) -> list[_Task]:
        """Wait until something ends; returns the tasks that a death left undone."""
        seats = {reference: seat for seat in self._seats for reference in seat.tasks}
        [reference], _ = self._ray.wait(list(seats), num_returns=1)
        seat = seats[reference]
        try:
            result = self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except self._ray.exceptions.RayError as error:
            return self._replace(seat, error, done)
        task = seat.tasks.pop(reference)
        if task is not None:
            done[task.number] = result
        elif self._identity is None:
            self._identity = result
        elif result != self._identity:
            raise RecosegError(
                f"Two workers differ: {self._identity} and {result}. Expected the same encoder "
                "and precision on all machines; name the precision by --precision."
            )
        return []

    def _replace(self, seat: _Seat, error: Exception, done: dict[int, Any]) -> list[_Task]:
        """A new worker for one that has died; its tasks, but for those that have cost too many."""
        reason = " ".join(str(error).split())[:300]
        left = list(seat.tasks.values())
        if None in left:
            self._failed_starts += 1
            if self._failed_starts > _ATTEMPTS * len(self._seats):
                raise RecosegError(f"Workers die while they start: {reason}") from error
        with suppress(Exception):
            self._ray.kill(seat.actor)
        self._seats[self._seats.index(seat)] = self._hire()
        again = []
        for task in left:
            if task is None:
                continue
            task.deaths += 1
            if task.deaths < _ATTEMPTS:
                again.append(task)
            else:
                done[task.number] = TaskFailed(
                    f"{task.deaths} workers died of it; the last: {reason}"
                )
        return again


def _import_ray() -> Any:
    # Read when Ray is imported and by the processes it starts.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingExtraError("ray", "ray", "The executor `ray`") from error
    return ray
