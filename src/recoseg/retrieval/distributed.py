"""Exact search in parts: workers search parts of the archive, and the rankings are merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recoseg.errors import RecosegError
from recoseg.executors import Advance, Executor, TaskFailed
from recoseg.retrieval.duplicates import EmbeddedArchive
from recoseg.retrieval.queries import Query
from recoseg.retrieval.search import Ranking, merge, top_k
from recoseg.storage.counts import count_of

PART = 1 << 20
"""Number of photos per part."""


@dataclass(frozen=True)
class PartTask:
    """A search for the best photos in one part of the archive.

    Attributes:
        first: First position of the part.
        stop: Position after the last one of the part.
        queries: The classes.
        k: Number of photos per class.
    """

    first: int
    stop: int
    queries: Sequence[Query]
    k: int


class PartWorker:
    """Searches parts of an archive (a `Worker` of an executor).

    Its identity is the number of photos of the archive.

    Args:
        index: The archive, opened on the machine of the worker.
    """

    def __init__(self, index: EmbeddedArchive) -> None:
        self._index = index
        self.identity = len(index)

    def __call__(self, task: PartTask, advance: Advance) -> list[Ranking]:
        """Search one part."""
        found = top_k(self._index.blocks(first=task.first, stop=task.stop), task.queries, task.k)
        advance()
        return found


def search_parts(
    executor: Executor,
    build: Callable[[], PartWorker],
    length: int,
    queries: Sequence[Query],
    k: int,
    *,
    part: int = PART,
) -> list[Ranking]:
    """Find the k best photos of each class; the result is bit for bit that of `top_k`.

    Args:
        executor: Executor that runs the workers.
        build: Opens the archive in the process of a worker.
        length: Number of photos of the archive.
        queries: The classes.
        k: Number of photos per class.
        part: Number of photos per task.

    Returns:
        One ranking per class.

    Raises:
        RecosegError: The archive has another number of photos on the machine of a worker, or the
            search of a part failed.
    """
    if not queries:
        return []
    tasks = [PartTask(at, min(at + part, length), queries, k) for at in range(0, length, part)]
    parts = []
    with executor.team(build) as team:
        if team.identity != length:
            raise RecosegError(
                f"Expected the same index on all machines, with {count_of(length, 'photos')} as "
                f"on this machine; the workers found {team.identity}. Check that they can read "
                "the same folder."
            )
        for task, found in zip(tasks, team.run(tasks, _no_progress), strict=True):
            if isinstance(found, TaskFailed):
                raise RecosegError(
                    f"Photos {task.first:,} to {task.stop:,} could not be searched: {found.reason}"
                )
            parts.append(found)
    return merge(parts, k) if parts else top_k([], queries, k)


def _no_progress(steps: int = 1, /, *, failed: int = 0) -> None:
    """A progress callback that does nothing."""
