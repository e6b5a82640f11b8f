"""A study and its rows; each row is one configuration of learning and segmentation."""

from __future__ import annotations

from dataclasses import dataclass, field

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames
from recoseg.config import BankSettings, Fusion, LearnSettings, SegmentSettings
from recoseg.encoders.bundle import Encoders
from recoseg.refinement.refiner import RefineSettings


@dataclass(frozen=True, eq=False)
class StudySource:
    """The archive and the encoders with which the classes of a row are learnt.

    Attributes:
        index: The archive.
        encoders: The three encoders; the retrieval encoder is the one that made the index.
        settings: The default settings of the dense encoders.
        name: Name that tells the source from others.
    """

    index: ArchiveIndex
    encoders: Encoders
    settings: BankSettings
    name: str


BankKey = tuple[StudySource, tuple[ClassNames, ...], LearnSettings]
"""Key of a bank: everything that it depends on."""


@dataclass(frozen=True)
class StudyRow:
    """One configuration of learning and segmentation.

    Attributes:
        label: Label of the row in its study. Rows of two studies that differ only in the label are
            computed once.
        source: Archive and encoders.
        classes: The classes, with their words.
        learn: How the classes are learnt.
        fusion: How scores are fused.
        refine: How masks are refined.
        x: Position of the row on the plot's x axis; None if the plot has bars.
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
        """Key of the row's bank: everything that the bank depends on."""
        return self.source, self.classes, self.learn

    @property
    def key(self) -> tuple[object, ...]:
        """Key of the row: everything that its results depend on."""
        return *self.bank_key, self.fusion, self.refine

    @property
    def settings(self) -> BankSettings:
        """The settings of the row's bank."""
        segment = self.source.settings.segment
        return BankSettings(
            self.learn, SegmentSettings(self.fusion, segment.short_side, segment.refine_temperature)
        )


@dataclass(frozen=True)
class Published:
    """A row of the paper's table, in per cent.

    Attributes:
        label: Label of the row in the study.
        miou: Mean IoU.
        accuracy: Pixel accuracy; None if the paper does not report it.
    """

    label: str
    miou: float
    accuracy: float | None = None


@dataclass(frozen=True)
class Study:
    """A table whose rows differ in one setting.

    Attributes:
        name: Name by which the study is requested.
        title: Title of the table.
        rows: The rows, in order.
        x_label: Label of the plot's x axis; None if the plot has bars.
        published: Rows of the paper's table, for comparison.
        published_on: Data set and source of that table.
        finding: The paper's conclusion from it.
    """

    name: str
    title: str
    rows: tuple[StudyRow, ...]
    x_label: str | None = None
    published: tuple[Published, ...] = ()
    published_on: str = ""
    finding: str = ""
