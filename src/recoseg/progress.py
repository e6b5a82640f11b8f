"""A progress bar that shows speed, failures and time left, and keeps quiet in log files."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sized
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

T = TypeVar("T")


class StageProgress:
    """Progress of one stage, on standard error.

    On a terminal it is a bar; elsewhere a single line at the end.

    Args:
        description: What is done, such as `Indexing`.
        total: How many steps there will be; None if unknown.
        unit: What one step is, in the plural.
        enabled: False to print nothing, True for the bar even where there is no terminal, None
            for the bar on a terminal and the final line elsewhere.

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
        enabled: bool | None = None,
    ) -> None:
        self.done = 0
        self.failed = 0
        self._description = description
        self._unit = unit
        self._silent = enabled is False
        self._console = Console(stderr=True, force_terminal=True if enabled else None)
        self._started = time.perf_counter()
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[detail]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=self._console,
            disable=self._silent or not self._console.is_terminal,
        )
        self._task = self._bar.add_task(description, total=total, detail="")

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._started

    @property
    def per_second(self) -> float:
        """Steps per second so far."""
        return self.done / max(self.seconds, 1e-9)

    def advance(self, steps: int = 1, *, failed: int = 0) -> None:
        """Count finished steps, of which `failed` were failures."""
        self.done += steps
        self.failed += failed
        self._bar.update(self._task, advance=steps, detail=self._detail())

    def __enter__(self) -> Self:
        self._started = time.perf_counter()
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()
        if not self._silent and not self._console.is_terminal and kind is None:
            self._console.print(
                f"{self._description}: {self.done:,} {self._unit} in {self.seconds:.1f} s, "
                f"{self._detail()}",
                markup=False,
                soft_wrap=True,
            )

    def _detail(self) -> str:
        speed = f"{self.per_second:.1f} {self._unit}/s"
        if self.done and self.per_second < 1:
            speed = f"{1 / self.per_second:.1f} s each"
        return f"{speed}, {self.failed:,} failed" if self.failed else speed


def track(
    items: Iterable[T],
    description: str,
    *,
    total: int | None = None,
    unit: str = "images",
    enabled: bool | None = None,
) -> Iterator[T]:
    """Yield the items and show how far they are; see `StageProgress`.

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
