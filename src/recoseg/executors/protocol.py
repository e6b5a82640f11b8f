"""The protocols of executors, which build workers and send them tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

LANES = 2
"""Tasks that a worker does at once: while one uses the model, the other is read or written."""

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Advance(Protocol):
    """Counts finished steps, of which `failed` have failed."""

    def __call__(self, steps: int = 1, /, *, failed: int = 0) -> None:
        """Add to the counts."""


class Worker(Protocol[T_contra, R_co]):
    """Does tasks, one at a time or several in threads; results must be picklable."""

    @property
    def identity(self) -> object:
        """All that affects results besides the task; must be equal for all workers of a team."""

    def __call__(self, task: T_contra, advance: Advance, /) -> R_co:
        """Do one task; doing it again must give the same result."""


@dataclass(frozen=True)
class TaskFailed:
    """The result of a task that could not be done because its worker died at every attempt.

    Attributes:
        reason: What the executor knows about the last death.
    """

    reason: str


class Team(Protocol[T_contra, R_co]):
    """Workers that have been built and wait for tasks."""

    @property
    def identity(self) -> object:
        """The identity of each worker."""

    def run(self, tasks: Iterable[T_contra], advance: Advance) -> Iterator[R_co | TaskFailed]:
        """Yield results in the order of the tasks, with a bounded number of tasks in flight.

        An error raised by a worker ends the run and is raised here. A task whose worker dies is
        repeated by another worker, and becomes a `TaskFailed` if that fails, too.
        """


class Executor(Protocol):
    """Decides where workers run."""

    def connection(self) -> AbstractContextManager[None]:
        """Keep one connection open for all teams that are made within this context."""

    def team(self, build: Callable[[], Worker[T, R]]) -> AbstractContextManager[Team[T, R]]:
        """Build workers and end them on exit; each calls `build` once, where it runs."""
