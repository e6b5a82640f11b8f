"""Studies: tables of rows, each with its own way to learn and to segment."""

from __future__ import annotations

from dataclasses import dataclass, field

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames
from recoseg.config import BankSettings, Fusion, LearnSettings, SegmentSettings
from recoseg.encoders.bundle import Encoders
from recoseg.memory.region_memory import RegionMemory
from recoseg.refinement.refiner import RefineSettings
from recoseg.segmentation.voting import Voting


@dataclass(frozen=True, eq=False)
class Setup:
    """The archive and the encoders that classes are learnt with.

    Attributes:
        index: Index of the archive.
        encoders: The encoders; the retrieval encoder is that of the index.
        settings: Default settings of the dense encoders.
        name: Name in the study of encoders.
    """

    index: ArchiveIndex
    encoders: Encoders
    settings: BankSettings
    name: str


BankKey = tuple[Setup, tuple[ClassNames, ...], LearnSettings]
"""Everything that a bank depends on."""


@dataclass(frozen=True)
class StudyRow:
    """One way to learn and to segment.

    Attributes:
        label: Label in the study; rows that differ in nothing else are computed once.
        setup: Archive and encoders.
        classes: The classes, with their words.
        learn: How the classes are learnt.
        fusion: How scores are fused.
        refine: How scores are refined.
        x: x value in the plot; None if the study is plotted as bars.
        voting: Regions that vote, and how; None if none do.
        memory: Region memory whose scores are added; None for none.
    """

    label: str
    setup: Setup
    classes: tuple[ClassNames, ...]
    learn: LearnSettings
    fusion: Fusion
    refine: RefineSettings = field(default_factory=RefineSettings)
    x: float | None = None
    voting: Voting | None = None
    memory: RegionMemory | None = None

    @property
    def bank_key(self) -> BankKey:
        """Everything that the bank of the row depends on."""
        return self.setup, self.classes, self.learn

    @property
    def key(self) -> tuple[object, ...]:
        """Everything that the scores of the row depend on."""
        return *self.bank_key, self.fusion, self.refine, self.voting, self.memory

    @property
    def settings(self) -> BankSettings:
        """The settings of the bank of the row."""
        segment = self.setup.settings.segment
        return BankSettings(
            self.learn, SegmentSettings(self.fusion, segment.short_side, segment.refine_temperature)
        )


@dataclass(frozen=True)
class Published:
    """A row of the paper's own table, in per cent.

    Attributes:
        label: Label of the same row here.
        miou: mIoU.
        accuracy: Pixel accuracy; None if the paper does not report it.
    """

    label: str
    miou: float
    accuracy: float | None = None


@dataclass(frozen=True)
class Study:
    """A table: rows that differ in one thing.

    Attributes:
        name: Name of the study.
        title: Title of the table.
        rows: The rows, in order.
        x_label: Label of the x axis; None if the study is plotted as bars.
        published: The paper's own table, for comparison.
        published_on: Data set and source of the paper's table.
        finding: The paper's conclusion.
        notes: What else readers of the table have to know, such as rows that are left out.
    """

    name: str
    title: str
    rows: tuple[StudyRow, ...]
    x_label: str | None = None
    published: tuple[Published, ...] = ()
    published_on: str = ""
    finding: str = ""
    notes: tuple[str, ...] = ()
