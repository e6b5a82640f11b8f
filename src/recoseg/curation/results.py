"""What a curation writes: the selection, what was found, a list of what stays, and two sheets."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recoseg.archive.index import ArchiveIndex
from recoseg.archive.selection import SELECTION, Selection
from recoseg.curation.verdicts import Verdict, first_reasons
from recoseg.drawing.curation_sheet import Section, Shown, write_curation_sheet
from recoseg.photos.filesystems import is_url
from recoseg.photos.refs import Photo
from recoseg.storage.atomic import write_atomically
from recoseg.storage.counts import count_of
from recoseg.storage.json_lines import write_json_lines

FINDINGS, KEPT = "findings.jsonl", "kept.txt"
LEFT_OUT_SHEET, NEARLY_SHEET = "left-out.html", "nearly.html"
FILES = (SELECTION, FINDINGS, KEPT, LEFT_OUT_SHEET, NEARLY_SHEET)
"""The files of a curation besides its settings and measures."""


@dataclass(frozen=True)
class Decision:
    """What becomes of the photos of an index.

    Attributes:
        verdicts: The verdicts, in the order in which they give reasons.
        first: Number of the verdict that leaves each photo out, (n,) int64; -1 for none.
        judged: Which photos were judged, (n,) bool: those of the earlier selection were not.
        photos: The photos that were judged, by position.
    """

    verdicts: Sequence[Verdict]
    first: np.ndarray
    judged: np.ndarray
    photos: Mapping[int, Photo]

    @classmethod
    def of(cls, verdicts: Sequence[Verdict], photos: Mapping[int, Photo], count: int) -> Decision:
        """Decide by verdicts.

        Args:
            verdicts: The verdicts, in the order in which they give reasons.
            photos: The photos that were judged, by position.
            count: Number of photos of the index, n.
        """
        judged = np.zeros(count, bool)
        judged[list(photos)] = True
        first = np.where(judged, first_reasons(verdicts, count), -1)
        return cls(verdicts, first, judged, photos)

    def reasons(self) -> dict[str, int]:
        """How many photos are left out for each reason, in the order of the verdicts."""
        counts = np.bincount(self.first[self.first >= 0], minlength=len(self.verdicts)).tolist()
        return {one.reason: n for one, n in zip(self.verdicts, counts, strict=True)}

    def stays(self) -> np.ndarray:
        """Which photos were judged and stay, (n,) bool."""
        return self.judged & (self.first < 0)

    def left_out(self) -> dict[str, str]:
        """The reason of each photo that is left out, by its id.

        A photo of which an identical copy stays is named by the id of its path.
        """
        staying = {self.photos[at].id for at in np.flatnonzero(self.stays()).tolist()}
        found = {}
        for at in np.flatnonzero(self.first >= 0).tolist():
            photo = self.photos[at]
            name = photo.path_id if photo.id in staying else photo.id
            found[name] = self.verdicts[self.first[at]].reason
        return found

    def near(self, count: int) -> list[np.ndarray]:
        """For each verdict the photos that it nearly left out, and that stay; nearest first."""
        stays = self.stays()
        return [
            verdict.doubtful(stays & ~verdict.is_out & verdict.is_near(), count)
            for verdict in self.verdicts
        ]


def write_results(
    folder: Path, index: ArchiveIndex, selection: Selection, decision: Decision, shown: int
) -> None:
    """Write the files of a curation.

    Args:
        folder: The folder.
        index: The index.
        selection: The selection.
        decision: What becomes of the photos.
        shown: Maximum number of photos per section of a sheet.
    """
    near = decision.near(shown)
    write_json_lines(folder / FINDINGS, _findings(decision, near))
    stays = np.flatnonzero(decision.stays()).tolist()
    lines = [_absolute(decision.photos[at].path) for at in stays]
    text = "".join(f"{line}\n" for line in lines if "\n" not in line)
    write_atomically(folder / KEPT, lambda file: file.write(text.encode()))
    selection.save(folder / SELECTION)
    gone = int((decision.first >= 0).sum())
    write_curation_sheet(
        folder / LEFT_OUT_SHEET,
        "What is left out",
        f"{gone:,} of {count_of(int(decision.judged.sum()), 'photos')}. Nothing was deleted. In "
        "each section the doubtful photos come first.",
        [_section(decision, number, shown) for number in range(len(decision.verdicts))],
        index,
    )
    write_curation_sheet(
        folder / NEARLY_SHEET,
        "What was nearly left out",
        "These photos stay. In each section those nearest to the limit come first.",
        [
            Section(
                verdict.reason,
                f"limit {verdict.limit:g}",
                [_shown(verdict, at) for at in positions.tolist()],
            )
            for verdict, positions in zip(decision.verdicts, near, strict=True)
            if not math.isnan(verdict.limit)
        ],
        index,
    )


def _section(decision: Decision, number: int, shown: int) -> Section:
    verdict = decision.verdicts[number]
    here = decision.first == number
    positions = verdict.doubtful(here, shown).tolist()
    limit = "" if math.isnan(verdict.limit) else f", limit {verdict.limit:g}"
    some = f", {len(positions):,} shown" if len(positions) < here.sum() else ""
    note = f"{count_of(int(here.sum()), 'photos')}{some}{limit}"
    return Section(verdict.reason, note, [_shown(verdict, at) for at in positions])


def _shown(verdict: Verdict, at: int) -> Shown:
    score = float(verdict.scores[at])
    kept = -1 if verdict.kept is None else int(verdict.kept[at])
    return Shown(at, "" if math.isnan(score) else f"{score:.3g}", kept if kept >= 0 else None)


def _findings(decision: Decision, near: Sequence[np.ndarray]) -> Iterator[dict[str, Any]]:
    """A line for each photo and check that leaves it out or nearly does."""
    for number, (verdict, close) in enumerate(zip(decision.verdicts, near, strict=True)):
        for at in np.flatnonzero(verdict.is_out & decision.judged).tolist():
            outcome = "left out" if decision.first[at] == number else "left out already"
            yield _finding(decision, verdict, at, outcome)
        for at in close.tolist():
            yield _finding(decision, verdict, at, "nearly left out")


def _finding(decision: Decision, verdict: Verdict, at: int, outcome: str) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "path": decision.photos[at].path,
        "photo_id": decision.photos[at].id,
        "check": verdict.check,
        "reason": verdict.reason,
        "outcome": outcome,
    }
    if not math.isnan(verdict.limit):
        fields |= {"score": round(float(verdict.scores[at]), 6), "limit": verdict.limit}
    if verdict.kept is not None and verdict.kept[at] >= 0:
        fields["like"] = decision.photos[int(verdict.kept[at])].path
    return fields


def _absolute(path: str) -> str:
    return path if is_url(path) else str(Path(path).absolute())
