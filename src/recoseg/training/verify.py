"""Checking the files of pseudo-labels: their checksums, and the range of their labels."""

from __future__ import annotations

from pathlib import Path

from recoseg.errors import FileError
from recoseg.progress import track
from recoseg.segmentation.verify import Findings, check_labels, read_map, verify_masks
from recoseg.storage.claim import format_in
from recoseg.storage.run_record import SETTINGS
from recoseg.storage.verification import Verification
from recoseg.training.pseudo_labels import MANIFEST, TEACHER, PseudoLabels
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
    findings = Findings()
    findings.sealed(folder / MANIFEST)
    findings.sealed(folder / SETTINGS)
    for record, text in found.texts().items():
        findings.text(folder / record, text)
    named = set[str]()
    for photo in track(found.photos, "Verifying", unit="photos", enabled=progress):
        kinds = {"labels": photo.labels, "confidence": photo.confidence}
        for kind, name in kinds.items():
            if name is None:
                continue
            expected = photo.checksums.get(kind)
            findings.count(expected is not None)
            named.add(name)
            try:
                values = read_map(folder, name, expected)
                if kind == "labels":
                    check_labels(values, len(found.names), folder / name)
            except FileError as error:
                findings.problems.append(str(error))
    findings.unnamed(folder, {name for name in named if name.startswith("labels/")})
    mine = findings.result(f"pseudo-labels in {folder}")
    if format_in(folder / TEACHER) != FORMAT:  # training does not need it, so it may be gone
        return mine
    teacher = verify_masks(folder / TEACHER, progress)
    problems = [*mine.problems, *teacher.problems, *_other_teacher(folder, found)]
    return Verification(
        mine.what,
        mine.checked + teacher.checked,
        mine.unchecked + teacher.unchecked,
        tuple(dict.fromkeys(problems)),
    )


def _other_teacher(folder: Path, found: PseudoLabels) -> list[str]:
    """The settings in which the teacher's label maps are not those that the labels came from."""
    settings = Findings().sealed(folder / TEACHER / SETTINGS)[0]
    recorded = {key: value for key, value in found.provenance.items() if key != "ignoring"}
    changed = sorted(key for key, value in recorded.items() if settings.get(key) != value)
    if not changed:
        return []
    return [
        f"{folder / TEACHER} was made with other settings than the pseudo-labels "
        f"({', '.join(changed)}). Make them again with `recoseg pseudo-label`."
    ]
