"""Counts of each photo in a file, so that an interrupted evaluation can be resumed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from jaxtyping import Int64

from recoseg.storage.atomic import write_bytes
from recoseg.storage.fields import to_json
from recoseg.storage.settings import check_resumable


@dataclass(frozen=True, eq=False)
class PhotoCounts:
    """What was counted on one photo.

    Attributes:
        name: Name of the photo.
        counts: Confusion matrix of each row of the table.
        boundary: Boundary counts of each row; empty where boundaries are not counted.
        error: Why nothing could be counted; None where it could.
    """

    name: str
    counts: tuple[Int64[np.ndarray, "c c+1"], ...] = ()
    boundary: tuple[Int64[np.ndarray, "c 4"], ...] = ()
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON; matrices as lists of positions and counts, which are short."""
        if self.error is not None:
            return {"name": self.name, "error": self.error}
        return {
            "name": self.name,
            "counts": [_sparse(part) for part in self.counts],
            "boundary": [_sparse(part) for part in self.boundary],
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any], classes: int) -> PhotoCounts:
        """Read the result of `to_json`."""
        if "error" in fields:
            return cls(fields["name"], error=fields["error"])
        counts = tuple(_dense(part, (classes, classes + 1)) for part in fields["counts"])
        boundary = tuple(_dense(part, (classes, 4)) for part in fields["boundary"])
        return cls(fields["name"], counts, boundary)


def _sparse(counts: np.ndarray) -> list[list[int]]:
    places = np.flatnonzero(counts)
    return [places.tolist(), counts.reshape(-1)[places].tolist()]


def _dense(parts: list[list[int]], shape: tuple[int, int]) -> np.ndarray:
    counts = np.zeros(shape[0] * shape[1], np.int64)
    counts[parts[0]] = parts[1]
    return counts.reshape(shape)


class CountsFile:
    """`photos.jsonl` in a folder, beside the `settings.json` that it belongs to.

    Args:
        folder: Folder of both files; it is created if it does not exist.
        settings: All that decides the counts, as JSON fields.
        classes: Number of scored classes.
        resume: Whether to keep what an earlier run has counted; photos that failed are tried again.

    Raises:
        RecosegError: On entering, with `resume`: the counts were made with other settings.
    """

    def __init__(
        self, folder: Path, settings: dict[str, Any], classes: int, *, resume: bool = False
    ) -> None:
        self._folder = folder
        self._settings = settings
        self._classes = classes
        self._resume = resume
        self._file: IO[str] | None = None
        self.finished: dict[str, PhotoCounts] = {}

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        lines, settings = self._folder / "photos.jsonl", self._folder / "settings.json"
        if self._resume and settings.is_file() and lines.is_file():
            check_resumable(settings, self._settings, "counts")
            for line in lines.read_text(encoding="ascii", errors="replace").splitlines():
                try:
                    counted = PhotoCounts.from_json(json.loads(line), self._classes)
                except (ValueError, KeyError, IndexError, TypeError):
                    continue  # cut off when the run was killed
                if counted.error is None:
                    self.finished[counted.name] = counted
        kept = "".join(_line(counted) for counted in self.finished.values()).encode("ascii")
        # The counts are written first, so that they never belong to other settings than those.
        write_bytes(lines, kept)
        write_bytes(settings, to_json(self._settings))
        self._file = lines.open("a", encoding="ascii")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def add(self, counted: PhotoCounts) -> None:
        """Write the counts of one photo to the disk."""
        if self._file is None:
            raise ValueError("Use the file in a with statement: with CountsFile(...) as counts.")
        self._file.write(_line(counted))
        self._file.flush()


def _line(counted: PhotoCounts) -> str:
    """One line of ASCII, so that any file name fits and a line cut off anywhere can be read."""
    return json.dumps(counted.to_json()) + "\n"
