"""Checking the files of an output folder: their checksums, and the range of their labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from recoseg.datasets.masks import decode_values
from recoseg.errors import BadImageError, FileError
from recoseg.labels import ignore_index
from recoseg.progress import track
from recoseg.storage.checksums import checksum
from recoseg.storage.claim import format_in
from recoseg.storage.paths import inside
from recoseg.storage.reading import read_bytes, read_lines
from recoseg.storage.verification import Verification
from recoseg.writers.folder import CLASSES, FORMAT, LINES, read_segmentations

_LARGEST = 1 << 34  # bytes; score maps of large photos have gigabytes


def read_map(folder: Path, name: object, expected: str | None) -> np.ndarray:
    """Read a label map or confidence map of up to 255 classes, and check its checksum.

    Args:
        folder: The folder that the name is relative to.
        name: Name of the file, as it is recorded.
        expected: Its recorded checksum; None checks none.

    Returns:
        (h, w) uint8.

    Raises:
        FileError: The file is missing or damaged, is not such a map, or its name leaves the folder.
    """
    path = inside(folder, name)
    data = read_bytes(path, _LARGEST)
    if expected is not None and checksum(data) != expected:
        raise FileError(
            f"{path} is damaged: it does not have the checksum that was recorded when it was "
            "written. Remove it, and make it again with --resume."
        )
    try:
        values = decode_values(data)
    except BadImageError as error:
        raise FileError(f"{path} is damaged: {error}.") from error
    if values.dtype != np.uint8:
        raise FileError(f"{path} has values of type {values.dtype}; expected 8 bits.")
    return values


def check_labels(labels: np.ndarray, classes: int, path: Path) -> None:
    """Refuse labels that are neither a class nor background.

    Args:
        labels: Integers (h, w).
        classes: Number of classes.
        path: The file, for the message.

    Raises:
        FileError: There is such a label.
    """
    found = np.unique(labels)
    wrong = found[(found >= classes) & (found != ignore_index(classes)) | (found < 0)]
    if wrong.size:
        raise FileError(
            f"{path} has labels that are no class: {', '.join(map(str, wrong[:5]))}; expected 0 to "
            f"{classes - 1}, or {ignore_index(classes)} for background."
        )


def verify_masks(folder: Path, progress: bool | None = False) -> Verification:
    """Compare the files that `recoseg segment` has written with their recorded checksums.

    Args:
        folder: The folder.
        progress: See `StageProgress`.

    Raises:
        FileError: It is not such a folder.
    """
    if format_in(folder) != FORMAT:
        raise FileError(
            f"{folder} holds no masks of recoseg. Expected a folder that `recoseg segment` wrote."
        )
    problems: list[str] = []
    checked = unchecked = 0
    classes = len(read_lines(folder / CLASSES))
    lines = list(read_segmentations(folder))
    for fields in track(lines, "Verifying", unit="photos", enabled=progress):
        if fields is None:
            problems.append(f"{folder / LINES} has a damaged line.")
            continue
        files, sums = _texts(fields.get("files")), _texts(fields.get("checksums"))
        for kind, name in files.items():
            expected = sums.get(kind)
            checked += expected is not None
            unchecked += expected is None
            try:
                _check(folder, kind, name, expected, classes)
            except FileError as error:
                problems.append(str(error))
    return Verification(f"masks in {folder}", checked, unchecked, tuple(problems))


def _check(folder: Path, kind: str, name: str, expected: str | None, classes: int) -> None:
    path = inside(folder, name)
    data = read_bytes(path, _LARGEST)
    if expected is not None and checksum(data) != expected:
        raise FileError(f"{path} is damaged: it does not have its recorded checksum.")
    if kind == "labels":
        try:
            labels = decode_values(data)
        except BadImageError as error:
            raise FileError(f"{path} is damaged: {error}.") from error
        check_labels(labels, classes, path)


def _texts(fields: Any) -> dict[str, str]:
    """The texts of an object in a line; a damaged line may hold anything."""
    if not isinstance(fields, dict):
        return {}
    return {key: value for key, value in fields.items() if isinstance(value, str)}
