"""What an executor is: it builds workers and hands them tasks."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

LANES = 2
"""Tasks that a worker has at once: one is prepared or written while the other has the model."""

T = TypeVar("T")
R = TypeVar("R")
T_contra = TypeVar("T_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)


class Advance(Protocol):
    """Counts finished steps, of which `failed` were failures."""

    def __call__(self, steps: int = 1, /, *, failed: int = 0) -> None:
        """Count them."""


class Worker(Protocol[T_contra, R_co]):
    """Does tasks one after the other, or two at once in threads. What it returns is pickled."""

    @property
    def identity(self) -> object:
        """What decides the results beside the task; must be equal for all workers of a team."""

    def __call__(self, task: T_contra, advance: Advance, /) -> R_co:
        """Do one task; it must give the same result whenever it is done again."""


@dataclass(frozen=True)
class TaskFailed:
    """A task whose worker died at every attempt."""

    reason: str


class Team(Protocol[T_contra, R_co]):
    """Workers that are ready."""

    @property
    def identity(self) -> object:
        """That of every worker."""

    def run(self, tasks: Iterable[T_contra], advance: Advance) -> Iterator[R_co | TaskFailed]:
        """Results in the order of the tasks, a bounded number in flight.

        An error that a worker raises ends the run and is raised here. A task whose worker dies
        is done again by another one.
        """


class Executor(Protocol):
    """A place where workers run."""

    def connection(self) -> AbstractContextManager[None]:
        """Hold the place: teams that come within, one after the other, need not reach it anew."""

    def team(self, build: Callable[[], Worker[T, R]]) -> AbstractContextManager[Team[T, R]]:
        """Build workers, each by one call of `build` where it is to run; end them at the exit."""
