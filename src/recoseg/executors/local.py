"""The executor for a single process."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Generic, TypeVar

from recoseg.executors.protocol import LANES, Advance, TaskFailed, Worker

T = TypeVar("T")
R = TypeVar("R")


class LocalExecutor:
    """Runs one worker, in this process.

    Args:
        lanes: Number of tasks done at once, each in its own thread; with 1 they run in the calling
            thread. The default is `LANES` where there is a GPU, which computes while the CPU
            decodes and writes, and 1 otherwise: each thread that computes on the CPU has OpenMP
            threads of its own, and with more threads than cores small layers took up to a third
            longer.
    """

    def __init__(self, lanes: int | None = None) -> None:
        self._lanes = lanes or (LANES if _has_accelerator() else 1)

    def connection(self) -> AbstractContextManager[None]:
        """See `Executor`; there is no connection to keep open."""
        return nullcontext()

    @contextmanager
    def team(self, build: Callable[[], Worker[T, R]]) -> Iterator[_LocalTeam[T, R]]:
        """See `Executor`."""
        yield _LocalTeam(build(), self._lanes)


def _has_accelerator() -> bool:
    import torch

    return torch.cuda.is_available() or torch.backends.mps.is_available()


class _LocalTeam(Generic[T, R]):
    def __init__(self, worker: Worker[T, R], lanes: int) -> None:
        self._worker = worker
        self._lanes = lanes

    @property
    def identity(self) -> object:
        return self._worker.identity

    def run(self, tasks: Iterable[T], advance: Advance) -> Iterator[R | TaskFailed]:
        if self._lanes == 1:
            yield from (self._worker(task, advance) for task in tasks)
            return
        lock, ended = threading.Lock(), threading.Event()

        def step(steps: int = 1, *, failed: int = 0) -> None:
            if ended.is_set():
                raise _EndedError
            with lock:
                advance(steps, failed=failed)

        with ThreadPoolExecutor(self._lanes) as pool:
            try:
                yield from ahead(pool, lambda task: self._worker(task, step), tasks, self._lanes)
            finally:
                ended.set()  # tasks whose results are no longer needed stop at their next step


class _EndedError(Exception):
    """Raised within a task to end it."""


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], depth: int
) -> Iterator[R]:
    """`map` over the pool, in order, with at most `depth` unfinished or unread results."""
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()
