"""Progress of long work: a bar on a terminal, lines in log files, and what Ctrl-C leaves."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sized
from contextvars import ContextVar
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from recoseg.storage.counts import count_of
from recoseg.storage.shown import shown

T = TypeVar("T")

_LINE_SECONDS = 30.0
"""Seconds between two lines where there is no terminal."""

Watch = Callable[[str, int, int | None], object]
"""Is told the name of a stage, its finished steps, and the number of all steps if it is known."""

_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)
"""What the stages that begin in this thread tell of their progress."""


@contextlib.contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Let every stage that begins within tell how far it is, whether or not it is shown.

    Args:
        watch: Called when a stage begins and after each of its steps. An exception that it raises
            ends the stage, and with it the work.

    Example:
        >>> with watched(print):
        ...     done = list(track("ab", "Segmenting", enabled=False))
        Segmenting 0 2
        Segmenting 1 2
        Segmenting 2 2
    """
    token = _watch.set(watch)
    try:
        yield
    finally:
        _watch.reset(token)


class StageProgress:
    """Shows the progress of one stage on standard error.

    On a terminal this is a bar; elsewhere it is a line every 30 seconds, and one at the end if
    there was anything to do.

    Args:
        description: The name of the stage, such as `Indexing`.
        total: Number of steps; None if unknown.
        unit: Name of the things that are counted, in the regular plural.
        start: Number of steps that an earlier run has done.
        enabled: None for a bar on a terminal and lines elsewhere, True for a bar even without a
            terminal, False for no output.

    Example:
        >>> with StageProgress("Indexing", 3, enabled=False) as progress:
        ...     progress.advance(2)
        ...     progress.advance(failed=1)
        >>> progress.done, progress.failed
        (3, 1)
    """

    def __init__(
        self,
        description: str,
        total: int | None,
        *,
        unit: str = "images",
        start: int = 0,
        enabled: bool | None = None,
    ) -> None:
        self.done = self._start = start
        self.failed = 0
        self._description = shown(description)
        self._unit = unit
        self._silent = enabled is False
        self._console = Console(stderr=True, force_terminal=True if enabled else None)
        self._total = total
        self._note: Callable[[], str] | None = None
        self._watch = _watch.get()
        self._started = self._told = time.perf_counter()
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}", markup=False),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=self._silent or not self._console.is_terminal,
        )
        self._task = self._bar.add_task(self._description, total=total, completed=start, detail="")

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.perf_counter() - self._started

    @property
    def per_second(self) -> float:
        """Steps per second so far."""
        return (self.done - self._start) / max(self.seconds, 1e-9)

    def advance(
        self, steps: int = 1, *, failed: int = 0, note: Callable[[], str] | None = None
    ) -> None:
        """Count finished steps.

        Args:
            steps: How many have been finished.
            failed: How many of them have failed.
            note: Says what else is to be shown, such as a loss; called when it is shown.
        """
        self.done += steps
        self.failed += failed
        self._note = note
        if not self._bar.disable:
            self._bar.update(self._task, advance=steps, detail=self._detail())
        if self._writes_lines and time.perf_counter() - self._told >= _LINE_SECONDS:
            self._told = time.perf_counter()
            done = count_of(self.done, self._unit)
            if self._total is not None:
                done = f"{self.done:,} of {count_of(self._total, self._unit)}"
            self._print(f"{done} so far, {self._detail()}{self._left()}")
        self._tell()

    def __enter__(self) -> Self:
        self._started = self._told = time.perf_counter()
        self._tell()
        if not self._bar.disable:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not self._bar.disable:  # Rich before 14.3 ends a disabled bar with an empty line
            self._bar.stop()
        if self._writes_lines and kind is None and (self.done or self._total):
            done = count_of(self.done, self._unit)
            self._print(f"{done} in {self.seconds:.1f} s, {self._detail()}")

    def _tell(self) -> None:
        if self._watch is not None:
            self._watch(self._description, self.done, self._total)

    @property
    def _writes_lines(self) -> bool:
        return not self._silent and not self._console.is_terminal

    def _print(self, text: str) -> None:
        self._console.print(f"{self._description}: {text}", markup=False, soft_wrap=True)

    def _detail(self) -> str:
        speed = f"{self.per_second:.1f} {self._unit}/s"
        if self.done > self._start and self.per_second < 1:
            speed = f"{1 / self.per_second:.1f} s each"
        failed = f", {self.failed:,} failed" if self.failed else ""
        return f"{speed}{failed}" if self._note is None else f"{speed}{failed}, {self._note()}"

    def _left(self) -> str:
        """The remaining time, if it can be told."""
        left = 0 if self._total is None else self._total - self.done
        if left <= 0 or self.done == self._start:
            return ""
        return f", about {_duration(left / self.per_second)} left"


def _duration(seconds: float) -> str:
    """A time for people: `40 s`, `12 min` or `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def track(
    items: Iterable[T],
    description: str,
    *,
    total: int | None = None,
    unit: str = "images",
    enabled: bool | None = None,
) -> Iterator[T]:
    """Yield the items and show the progress; see `StageProgress` for the arguments.

    Example:
        >>> list(track([1, 2], "Segmenting", enabled=False))
        [1, 2]
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    with StageProgress(description, total, unit=unit, enabled=enabled) as progress:
        for item in items:
            yield item
            progress.advance()


def resumable(folder: Path) -> str:
    """What is kept by a command that `--resume` continues."""
    return f"{folder} keeps what is done; go on with --resume."


@contextlib.contextmanager
def telling_what_is_kept(kept: Callable[[], str]) -> Iterator[None]:
    """Let Ctrl-C also say what is kept and how to go on.

    Args:
        kept: Says so, in a sentence; called after the interruption.

    Raises:
        KeyboardInterrupt: After Ctrl-C; its message is what the user is told.

    Example:
        >>> try:
        ...     with telling_what_is_kept(lambda: "The first half is kept."):
        ...         raise KeyboardInterrupt
        ... except KeyboardInterrupt as error:
        ...     print(error)
        Interrupted. The first half is kept.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        if str(error):  # somebody has said it already
            raise
        raise KeyboardInterrupt(f"Interrupted. {kept()}") from error
