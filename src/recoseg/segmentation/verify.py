"""Checking the files of an output folder: their checksums, and the range of their labels."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from recoseg.classes import read_classes
from recoseg.datasets.masks import decode_values
from recoseg.errors import BadImageError, FileError, RecosegError
from recoseg.labels import ignore_index
from recoseg.progress import track
from recoseg.rasters.label_files import RASTER, label_blocks
from recoseg.rasters.opening import has_rasterio
from recoseg.storage.checksums import check_file, checksum
from recoseg.storage.claim import format_in
from recoseg.storage.json_lines import read_json_lines
from recoseg.storage.paths import inside
from recoseg.storage.reading import MAX_TEXT, read_bytes, read_json, read_text
from recoseg.storage.run_record import SETTINGS
from recoseg.storage.sealed import LINE_SEAL, is_whole, read_sealed
from recoseg.storage.settings import CHECKSUMS
from recoseg.storage.verification import Verification
from recoseg.writers.folder import CLASSES, FORMAT, LINES

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
    found = Findings()
    settings, has_checksum = found.sealed(folder / SETTINGS)
    classes = found.classes(folder / CLASSES, _texts(settings.get(CHECKSUMS)).get(CLASSES))
    number, named = 0, set[str]()
    for fields in track(
        read_json_lines(folder / LINES), "Verifying", unit="photos", enabled=progress
    ):
        number += 1
        where = f"Line {number:,} of {folder / LINES}"
        if fields is None or not is_whole(fields, has_checksum):
            found.problems.append(f"{where} is damaged.")
            continue
        if fields.get("run") != settings.get("run"):
            found.problems.append(f"{where} belongs to another run.")
            continue
        if LINE_SEAL in fields and not has_checksum:
            found.problems.append(
                f"{folder / SETTINGS} has no checksum, but {where} has one: it is damaged, or a "
                "run was ended. Continue it with --resume."
            )
            has_checksum = True
        files, sums = _texts(fields.get("files")), _texts(fields.get("checksums"))
        if "error" not in fields and (not files or (has_checksum and not sums)):
            found.problems.append(f"{where} names no files with checksums.")
        named |= set(files.values())
        for kind, name in files.items():
            expected = sums.get(kind)
            found.count(expected is not None)
            try:
                _check(folder, kind, name, expected, classes)
            except FileError as error:
                found.problems.append(str(error))
    if not number:
        found.problems.append(f"{folder / LINES} records nothing.")
    found.unnamed(folder, named)
    return found.result(f"masks in {folder}")


class Findings:
    """What a check has found so far.

    Attributes:
        problems: What is wrong, one line each.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self._counts = [0, 0]

    def count(self, has_checksum: bool) -> None:
        """Count a file."""
        self._counts[has_checksum] += 1

    def sealed(self, path: Path) -> tuple[dict[str, Any], bool]:
        """The fields of a file, and whether they had a checksum; as far as it can be read."""
        try:
            fields, has_checksum = read_sealed(path, MAX_TEXT)
        except FileError as error:
            self.count(True)
            self.problems.append(str(error))
            with contextlib.suppress(FileError):
                return read_json(path), True
            return {}, True
        self.count(has_checksum)
        return fields, has_checksum

    def classes(self, path: Path, expected: str | None) -> int:
        """Check a list of classes, and return their number; 0 if it cannot be told."""
        self.count(expected is not None)
        try:
            if expected is not None:
                check_file(path, expected)
            return len(read_classes(path))
        except RecosegError as error:
            self.problems.append(str(error))
            return 0

    def text(self, path: Path, expected: str) -> None:
        """Compare a text file with what it has to hold."""
        self.count(True)
        try:
            if read_text(path) != expected:
                self.problems.append(f"{path} is damaged: it does not say what was recorded.")
        except FileError as error:
            self.problems.append(str(error))

    def unnamed(self, folder: Path, named: Collection[str]) -> None:
        """Find files that nothing names, in the folders of those that are named and of labels."""
        for kind in sorted({"labels", *(name.split("/")[0] for name in named if "/" in name)}):
            for path in sorted((folder / kind).rglob("*")):
                is_named = path.relative_to(folder).as_posix() in named
                if path.is_file() and not is_named and not path.name.startswith("."):
                    self.problems.append(
                        f"{path} is recorded nowhere. Delete it, unless a run is writing."
                    )

    def result(self, what: str) -> Verification:
        """The findings, each once."""
        unchecked, checked = self._counts
        return Verification(what, checked, unchecked, tuple(dict.fromkeys(self.problems)))


def _check(folder: Path, kind: str, name: str, expected: str | None, classes: int) -> None:
    path = inside(folder, name)
    if path.suffix == RASTER:
        _check_raster(path, expected, classes)
        return
    data = read_bytes(path, _LARGEST)
    if expected is not None and checksum(data) != expected:
        raise FileError(f"{path} is damaged: it does not have its recorded checksum.")
    if kind == "labels" and classes:
        try:
            labels = decode_values(data)
        except BadImageError as error:
            raise FileError(f"{path} is damaged: {error}.") from error
        check_labels(labels, classes, path)


def _check_raster(path: Path, expected: str | None, classes: int) -> None:
    """Check the label map of a raster, its labels only where rasterio is installed."""
    if expected is not None:
        check_file(path, expected)
    if not classes or not has_rasterio():
        return
    try:
        for labels in label_blocks(path):
            check_labels(labels, classes, path)
    except BadImageError as error:
        raise FileError(f"{path} is damaged: {error}.") from error


def _texts(fields: Any) -> dict[str, str]:
    """The texts of an object in a line; a damaged line may hold anything."""
    if not isinstance(fields, dict):
        return {}
    return {key: value for key, value in fields.items() if isinstance(value, str)}
