"""The page of the demo: its best result, the method, photos beside their masks, and the classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recoseg.drawing.gallery import Gallery
from recoseg.drawing.report import PAGE, Report
from recoseg.drawing.retrieval_sheet import SheetCell
from recoseg.evidence import Judgement
from recoseg.photos.refs import Photo


@dataclass(frozen=True)
class Share:
    """A class that a photo shows: its colour as `#rrggbb`, and its share of the photo, 0 to 1."""

    name: str
    colour: str
    share: float


@dataclass(frozen=True)
class Hero:
    """The photo that is shown first.

    Attributes:
        name: Its name.
        photo: File of the photo, relative to the report.
        masks: File of the photo with its masks, likewise.
        width: Width of each of the two pictures, pixels.
        height: Height of each, pixels.
        shares: The classes, largest first.
    """

    name: str
    photo: str
    masks: str
    width: int
    height: int
    shares: tuple[Share, ...]


@dataclass(frozen=True)
class Common:
    """A file that shows where a retrieved photo has what it has in common with the others."""

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
        judgement: How well it is known.
        reasons: The reasons, or what speaks for it.
        cells: The retrieved photos, best first.
        common: What the first of them have in common.
    """

    name: str
    words: str
    colour: str
    note: str
    judgement: Judgement
    reasons: tuple[str, ...]
    cells: Sequence[SheetCell]
    common: Sequence[Common]

    @property
    def doubtful(self) -> bool:
        """Whether there is a reason to doubt its masks."""
        return self.judgement in ("weak", "probably absent")


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
        hero: The best result; None if no class was found in any photo.
        gallery: All segmented photos with their masks.
        classes: The classes, then the context classes.
        timings: The steps of the run in order.
        machine: What it ran on, such as `CPU, 2 threads, fp32`.
        settings: The settings of the run, in a sentence.
        commands: Commands that do the same with other photos.
        class_lines: The classes as lines of a file.
        failures: Photos that could not be used, with the reason.
    """

    photos: int
    hero: Hero | None
    gallery: Gallery
    classes: Sequence[LearntClass]
    timings: Sequence[Timing]
    machine: str
    settings: str
    commands: Sequence[str]
    class_lines: Sequence[str]
    failures: Sequence[Photo]


def write_demo_page(report: Report, page: DemoPage) -> Path:
    """Write the page and the rows of its photos into a report, which has their pictures."""
    report.gallery(page.gallery)
    return report.page(PAGE, "demo.html.jinja", title="recoseg demo", page=page)
