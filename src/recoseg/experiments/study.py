"""What a study is made of: rows, each a way to learn and to segment."""

from __future__ import annotations

from dataclasses import dataclass, field

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames
from recoseg.config import BankSettings, Fusion, LearnSettings, SegmentSettings
from recoseg.encoders.bundle import Encoders
from recoseg.refinement.refiner import RefineSettings


@dataclass(frozen=True, eq=False)
class StudySource:
    """Where the classes of a row are learnt, and with what.

    Attributes:
        index: The archive.
        encoders: The three encoders; the retrieval encoder is the index's own.
        settings: The defaults of the pair of dense encoders.
        name: What tells it from others.
    """

    index: ArchiveIndex
    encoders: Encoders
    settings: BankSettings
    name: str


BankKey = tuple[StudySource, tuple[ClassNames, ...], LearnSettings]
"""What decides a bank."""


@dataclass(frozen=True)
class Row:
    """One way to learn and to segment.

    Attributes:
        label: What it is called in its study; rows of two studies that differ in nothing else are
            computed once.
        source: Archive and encoders.
        classes: The classes, with their words.
        learn: How they are learnt.
        fusion: How scores are fused.
        refine: How they are refined.
        x: Its place in the plot; None where the study has bars.
    """

    label: str
    source: StudySource
    classes: tuple[ClassNames, ...]
    learn: LearnSettings
    fusion: Fusion
    refine: RefineSettings = field(default_factory=RefineSettings)
    x: float | None = None

    @property
    def bank_key(self) -> BankKey:
        """What decides its bank."""
        return self.source, self.classes, self.learn

    @property
    def key(self) -> tuple[object, ...]:
        """What decides its numbers."""
        return *self.bank_key, self.fusion, self.refine

    @property
    def settings(self) -> BankSettings:
        """The settings of its bank."""
        segment = self.source.settings.segment
        return BankSettings(
            self.learn, SegmentSettings(self.fusion, segment.short_side, segment.refine_temperature)
        )


@dataclass(frozen=True)
class Published:
    """A row as the paper has it, in per cent.

    Attributes:
        label: The row's label here.
        miou: Its mIoU.
        accuracy: Its pixel accuracy, where it is given.
    """

    label: str
    miou: float
    accuracy: float | None = None


@dataclass(frozen=True)
class Study:
    """A table: rows that differ in one thing.

    Attributes:
        name: What it is asked for by.
        title: What it shows.
        rows: The rows, in order.
        x_label: What the rows' places are, where they have some.
        published: The paper's own table, for comparison.
        published_on: Data set and source of that table.
        finding: What the paper concludes from it.
    """

    name: str
    title: str
    rows: tuple[Row, ...]
    x_label: str | None = None
    published: tuple[Published, ...] = ()
    published_on: str = ""
    finding: str = ""
