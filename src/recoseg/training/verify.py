"""Checking the files of pseudo-labels: their checksums, and the range of their labels."""

from __future__ import annotations

from pathlib import Path

from recoseg.errors import FileError
from recoseg.progress import track
from recoseg.segmentation.verify import check_labels, read_map, verify_masks
from recoseg.storage.claim import format_in
from recoseg.storage.verification import Verification
from recoseg.training.pseudo_labels import TEACHER, PseudoLabels
from recoseg.writers.folder import FORMAT


def verify_pseudo_labels(folder: Path, progress: bool | None = False) -> Verification:
    """Compare pseudo-labels, and the teacher's label maps, with their recorded checksums.

    Args:
        folder: A folder that `recoseg pseudo-label` has written.
        progress: See `StageProgress`.

    Raises:
        RecosegError: The folder's manifest is missing or damaged.
    """
    found = PseudoLabels.read(folder)
    problems: list[str] = []
    checked = unchecked = 0
    for photo in track(found.photos, "Verifying", unit="photos", enabled=progress):
        named = {"labels": photo.labels, "confidence": photo.confidence}
        for kind, name in named.items():
            if name is None:
                continue
            expected = photo.checksums.get(kind)
            checked += expected is not None
            unchecked += expected is None
            try:
                values = read_map(folder, name, expected)
                if kind == "labels":
                    check_labels(values, len(found.names), folder / name)
            except FileError as error:
                problems.append(str(error))
    teacher = Verification("", 0, 0, ())
    if format_in(folder / TEACHER) == FORMAT:  # training does not need it, so it may be gone
        teacher = verify_masks(folder / TEACHER, progress)
    return Verification(
        f"pseudo-labels in {folder}",
        checked + teacher.checked,
        unchecked + teacher.unchecked,
        tuple(dict.fromkeys((*problems, *teacher.problems))),
    )
