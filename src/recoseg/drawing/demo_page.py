"""The page of the demo: its best result, the method, photos beside their masks, and the classes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recoseg.drawing.pages import write_page
from recoseg.drawing.photo_pair import Pair
from recoseg.drawing.retrieval_sheet import SheetCell
from recoseg.photos.refs import Photo


@dataclass(frozen=True)
class Common:
    """Where a retrieved photo has what it has in common with the others; a data URI."""

    picture: str
    name: str


@dataclass(frozen=True)
class LearntClass:
    """A class on the page.

    Attributes:
        name: Its name.
        words: What it was searched for by.
        colour: Its colour in masks as `#rrggbb`; empty for context classes.
        note: What the summary says of it, such as `found in 3 photos`.
        weak: Whether there is a reason to doubt its masks.
        reasons: The reasons, or what speaks for it.
        cells: The retrieved photos, best first.
        common: What the first of them have in common.
    """

    name: str
    words: str
    colour: str
    note: str
    weak: bool
    reasons: tuple[str, ...]
    cells: Sequence[SheetCell]
    common: Sequence[Common]


@dataclass(frozen=True)
class Timing:
    """A step of the run: what was done, to how many of what, in how many seconds."""

    step: str
    count: int
    unit: str
    seconds: float

    @property
    def rate(self) -> str:
        """Items per second, for reading."""
        rate = self.count / max(self.seconds, 1e-9)
        return f"{rate:,.0f}" if rate >= 10 else f"{rate:.1f}"


@dataclass(frozen=True)
class DemoPage:
    """All that the page shows.

    Attributes:
        photos: Number of indexed photos.
        pairs: Segmented photos with at least one class, the best result first.
        empty: Segmented photos without any class.
        left_out: Number of segmented photos that are not shown.
        classes: The classes, then the context classes.
        timings: The steps of the run in order.
        machine: What it ran on, such as `CPU, 2 threads, fp32`.
        settings: The settings of the run, in a sentence.
        commands: Commands that do the same with other photos.
        class_lines: The classes as lines of a file.
        failures: Photos that could not be used, with the reason.
    """

    photos: int
    pairs: Sequence[Pair]
    empty: Sequence[Pair]
    left_out: int
    classes: Sequence[LearntClass]
    timings: Sequence[Timing]
    machine: str
    settings: str
    commands: Sequence[str]
    class_lines: Sequence[str]
    failures: Sequence[Photo]


def write_demo_page(path: str | os.PathLike[str], page: DemoPage) -> Path:
    """Write one self-contained HTML file that needs neither a network nor scripts."""
    return write_page(path, "report.html.jinja", title="recoseg demo", height=132, page=page)
