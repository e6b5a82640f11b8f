"""Two runs side by side, as tables to print and to put on a page, and as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from recoseg.comparison.agreement import Agreement
from recoseg.comparison.banks import BankComparison
from recoseg.comparison.scores import ScoreChange, ScoreComparison
from recoseg.comparison.settings import Change
from recoseg.evaluation.markdown import percent
from recoseg.storage.counts import count_of

_MOST_PHOTOS = 10


@dataclass(frozen=True)
class Table:
    """A table of texts.

    Attributes:
        title: Its title.
        note: How to read it, in sentences; may be empty.
        columns: Titles of the columns.
        rows: The cells.
        numbers_from: Columns from this one on hold numbers.
    """

    title: str
    note: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers_from: int = 99


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side. What does not apply to them is None.

    Attributes:
        names: What the two are called.
        banks: The comparison of two concept banks.
        settings: Settings that differ; empty where they are part of `banks`.
        scores: The comparison of two runs on labelled photos.
        agreement: The comparison of two runs on photos without labels.
        note: How to read the settings; may be empty.
        page: The page with the photos that changed most; None if none was asked for.
    """

    names: tuple[str, str]
    banks: BankComparison | None = None
    settings: tuple[Change, ...] = ()
    scores: ScoreComparison | None = None
    agreement: Agreement | None = None
    note: str = ""
    page: Path | None = None

    @property
    def headline(self) -> str:
        """The result in a sentence or two."""
        if self.scores is not None:
            return _of_scores(self.scores, self.names)
        if self.agreement is not None:
            photos = count_of(len(self.agreement.photos), "photos")
            return f"The two agree on {percent(self.agreement.share)} % of the pixels of {photos}."
        if self.banks is not None:
            differ = sum(item.differs for item in self.banks.classes)
            return (
                f"{count_of(len(self.banks.added), 'classes', 'were')} added, "
                f"{count_of(len(self.banks.removed), 'classes', 'were')} removed, "
                f"and {differ:,} of {count_of(len(self.banks.classes), 'shared classes', 'differ')}"
                f"; {count_of(len(self.banks.settings), 'settings', 'differ')}."
            )
        return f"{count_of(len(self.settings), 'settings', 'differ')}."

    @property
    def tables(self) -> tuple[Table, ...]:
        """Everything in tables, the most telling one first."""
        found: list[Table] = []
        if self.scores is not None:
            found += _score_tables(self.scores, self.names)
        if self.agreement is not None:
            found += _agreement_tables(self.agreement, self.names)
        if self.banks is not None:
            found += _bank_tables(self.banks, self.names)
        if self.settings:
            found.append(_settings_table(self.settings, self.names, self.note))
        return tuple(table for table in found if table.rows)

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON."""
        fields = asdict(self) | {"page": None if self.page is None else str(self.page)}
        return {name: value for name, value in fields.items() if value not in (None, (), "")}


def _of_scores(found: ScoreComparison, names: tuple[str, str]) -> str:
    change = found.miou
    assert change.difference is not None
    assert change.p_value is not None
    better = names[1] if change.difference > 0 else names[0]
    sure = (
        f"{better} is better, beyond what the choice of photos explains"
        if change.p_value < 0.05
        else "the choice of photos may explain the difference"
    )
    return (
        f"mIoU {percent(change.one)} % and {percent(change.other)} %, a difference of "
        f"{_signed(change.difference)} (95 % interval {_signed(change.low)} to "
        f"{_signed(change.high)}, p = {change.p_value:.3f}, "
        f"{count_of(len(found.photos), 'photos')}): {sure}."
    )


def _score_tables(found: ScoreComparison, names: tuple[str, str]) -> list[Table]:
    columns = ("class", *names, "difference", "95 % from", "to", "p")
    photos = found.photos[:_MOST_PHOTOS]
    return [
        Table(
            "IoU of each class",
            "In per cent. Intervals and p-values are those of a paired bootstrap over photos "
            f"({found.resamples:,} resamples, seed {found.seed}), each for its class alone: of "
            "many classes that do not differ, one in twenty is below 0.05.",
            columns,
            tuple(map(_score_row, (found.miou, *found.classes))),
            1,
        ),
        Table(
            "Photos that changed most",
            "The mIoU of the photo alone, in per cent.",
            ("photo", *names, "difference"),
            tuple(
                (photo.name, percent(photo.one), percent(photo.other), _signed(photo.difference))
                for photo in photos
            ),
            1,
        ),
    ]


def _score_row(change: ScoreChange) -> tuple[str, ...]:
    return (
        change.name,
        percent(change.one),
        percent(change.other),
        *map(_signed, (change.difference, change.low, change.high)),
        "-" if change.p_value is None else f"{change.p_value:.3f}",
    )


def _agreement_tables(found: Agreement, names: tuple[str, str]) -> list[Table]:
    one, other = names
    return [
        Table(
            "Classes",
            "Share of all pixels, and IoU of the masks of the two, in per cent.",
            ("class", one, other, "IoU"),
            tuple(
                (item.name, *(percent(share) for share in item.shares), percent(item.iou))
                for item in found.classes
                if item.iou is not None
            ),
            1,
        ),
        Table(
            "What changed most",
            "Share of all pixels in per cent.",
            (one, other, "share", "pixels"),
            tuple(
                (item.one, item.other, percent(item.share, 2), f"{item.pixels:,}")
                for item in found.transitions
            ),
            2,
        ),
        Table(
            "Photos that agree least",
            "Share of the photo's pixels that have the same class in both, in per cent.",
            ("photo", "agreement"),
            tuple((photo.name, percent(photo.share)) for photo in found.photos[:_MOST_PHOTOS]),
            1,
        ),
    ]


def _bank_tables(found: BankComparison, names: tuple[str, str]) -> list[Table]:
    one, other = names
    tables = []
    alone = [(name, "", "yes") for name in found.added]
    alone += [(name, "yes", "") for name in found.removed]
    if alone:
        tables.append(Table("Classes that only one has", "", ("class", one, other), tuple(alone)))
    phis = list(dict.fromkeys(name for item in found.classes for name in item.cosines))
    rows = []
    for item in found.classes:
        words = item.words[0] if item.words[0] == item.words[1] else " -> ".join(item.words)
        cosines = [f"{item.cosines[phi]:.3f}" if phi in item.cosines else "-" for phi in phis]
        verdicts = dict.fromkeys(item.verdicts)
        rows.append(
            (
                words if item.role == "class" else f"{words} (context)",
                " -> ".join(verdicts),
                *cosines,
                f"{item.common} of {item.photos[0]} and {item.photos[1]}",
            )
        )
    if rows:
        note = "How alike the references are (cosine), and how many photos both were learnt from."
        if not phis:
            note += " The banks have no phi in common, so references cannot be compared."
        columns = ("class", "verdict", *(f"cosine by {phi}" for phi in phis), "photos in common")
        tables.append(Table("Classes that both have", note, columns, tuple(rows)))
    if found.settings:
        tables.append(_settings_table(found.settings, names))
    return tables


def _settings_table(settings: tuple[Change, ...], names: tuple[str, str], note: str = "") -> Table:
    rows = tuple((item.name, item.one or "-", item.other or "-") for item in settings)
    return Table("Settings that differ", note, ("setting", *names), rows)


def _signed(value: float | None) -> str:
    """A difference in per cent points with its sign."""
    return "-" if value is None else f"{round(100 * value, 1) + 0.0:+.1f}"  # no -0.0
