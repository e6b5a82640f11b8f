"""Exact search part by part: each worker searches some of the archive, the best are merged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from recoseg.errors import RecosegError
from recoseg.executors import Advance, Executor, TaskFailed
from recoseg.retrieval.duplicates import EmbeddedArchive
from recoseg.retrieval.queries import Query
from recoseg.retrieval.search import Ranking, merge, top_k

PART = 1 << 20
"""Photos per part."""


@dataclass(frozen=True)
class PartTask:
    """The k best of each class among the positions from `first` to before `stop`."""

    first: int
    stop: int
    queries: Sequence[Query]
    k: int


class PartWorker:
    """Searches parts of an archive (a `Worker` of an executor); its identity is the length.

    Args:
        index: The archive, as this worker's machine sees it.
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
    """The k best photos of each class; equals `top_k` of the whole, bit for bit.

    Args:
        executor: Where the workers run.
        build: Opens the archive where a worker runs.
        length: Photos of the archive.
        queries: The classes.
        k: Photos per class.
        part: Photos per task.

    Raises:
        RecosegError: A worker sees an archive of another length, or workers died of a part.
    """
    if not queries:
        return []
    tasks = [PartTask(at, min(at + part, length), queries, k) for at in range(0, length, part)]
    parts = []
    with executor.team(build) as team:
        if team.identity != length:
            raise RecosegError(
                f"The workers see an archive of {team.identity} photos, this machine one of "
                f"{length}. Expected the same folder on all machines."
            )
        for task, found in zip(tasks, team.run(tasks, _uncounted), strict=True):
            if isinstance(found, TaskFailed):
                raise RecosegError(f"Photos {task.first:,} to {task.stop:,}: {found.reason}")
            parts.append(found)
    return merge(parts, k) if parts else top_k([], queries, k)


def _uncounted(steps: int = 1, /, *, failed: int = 0) -> None:
    """Progress that nobody looks at."""
