"""Counts of each photo in a file, so that an interrupted evaluation can be resumed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from jaxtyping import Int64

from recoseg.errors import LabelError
from recoseg.storage.run_record import RunRecord

FORMAT = "recoseg-evaluation-1"
LINES = "photos.jsonl"


@dataclass(frozen=True, eq=False)
class PhotoCounts:
    """What was counted on one photo.

    Attributes:
        name: Name of the photo.
        counts: Confusion matrix of each row of the table.
        boundary: Boundary counts of each row; empty where boundaries are not counted.
        error: Why nothing could be counted; None where it could.
        stamp: A text that changes when the photo, its truth or a prediction changes.
    """

    name: str
    counts: tuple[Int64[np.ndarray, "c c+1"], ...] = ()
    boundary: tuple[Int64[np.ndarray, "c 4"], ...] = ()
    error: str | None = None
    stamp: str = ""

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON; matrices as lists of positions and counts, which are short."""
        if self.error is not None:
            return {"name": self.name, "error": self.error}
        return {
            "name": self.name,
            "stamp": self.stamp,
            "counts": [_sparse(part) for part in self.counts],
            "boundary": [_sparse(part) for part in self.boundary],
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any], classes: int) -> PhotoCounts:
        """Read the result of `to_json`.

        Raises:
            LabelError: It is not such a result, or has another number of classes.
        """
        try:
            name, stamp = fields["name"], fields.get("stamp", "")
            if not isinstance(name, str) or not isinstance(stamp, str):
                raise TypeError("expected texts")
            if "error" in fields:
                return cls(name, error=str(fields["error"]))
            counts = tuple(_dense(part, (classes, classes + 1)) for part in fields["counts"])
            boundary = tuple(_dense(part, (classes, 4)) for part in fields["boundary"])
        except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
            raise LabelError(f"Expected the counts of a photo; {error}.") from error
        return cls(name, counts, boundary, stamp=stamp)


def _sparse(counts: np.ndarray) -> list[list[int]]:
    places = np.flatnonzero(counts)
    return [places.tolist(), counts.reshape(-1)[places].tolist()]


def _dense(parts: list[list[int]], shape: tuple[int, int]) -> np.ndarray:
    places, values = (np.array(part, np.int64) for part in parts)
    if places.shape != values.shape or (values < 0).any() or (places < 0).any():
        raise ValueError("places and counts do not fit together")
    counts = np.zeros(shape[0] * shape[1], np.int64)
    counts[places] = values
    return counts.reshape(shape)


class CountsFile:
    """`photos.jsonl` in a folder, beside the `settings.json` that it belongs to; see `RunRecord`.

    Args:
        folder: Folder of both files; it is created if it does not exist.
        settings: All that decides the counts, as JSON fields.
        classes: Number of scored classes.
        form: What the run writes, for the field `format` of the settings.
        what: What the run writes, for messages.
        entries: Names of the other files that the run writes.
        owned: Names of all files that such runs write; by default the entries.
        resume: Whether to keep what an earlier run has counted; photos that failed are tried again.
        overwrite: Whether to remove what an earlier run has written.

    Raises:
        OutputError: On entering: see `RunRecord`.
    """

    def __init__(
        self,
        folder: Path,
        settings: Mapping[str, Any],
        classes: int,
        *,
        form: str = FORMAT,
        what: str = "counts",
        entries: Iterable[str] = (),
        owned: Iterable[str] | None = None,
        resume: bool = False,
        overwrite: bool = False,
    ) -> None:
        self.finished: dict[str, PhotoCounts] = {}

        def keep(fields: dict[str, Any]) -> bool:
            try:
                counted = PhotoCounts.from_json(fields, classes)
            except LabelError:
                return False
            if counted.error is None:
                self.finished[counted.name] = counted
            return counted.error is None

        self._record = RunRecord(
            folder,
            LINES,
            form,
            settings,
            what=what,
            entries=entries,
            owned=owned,
            resume=resume,
            overwrite=overwrite,
            keep=keep,
        )

    def __enter__(self) -> Self:
        self._record.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._record.__exit__(kind, error, trace)

    def unchanged(self, stamps: Mapping[str, str]) -> dict[str, PhotoCounts]:
        """What an earlier run has counted, without photos whose stamp differs; those are dropped.

        Args:
            stamps: The stamp of each photo by name.
        """
        changed = {
            name
            for name, counted in self.finished.items()
            if name in stamps and counted.stamp != stamps[name]
        }
        if changed:
            with self._record.writing():
                self._record.drop(lambda fields: fields.get("name") in changed)
            self.finished = {name: c for name, c in self.finished.items() if name not in changed}
        return dict(self.finished)

    def add(self, counted: PhotoCounts) -> None:
        """Write the counts of one photo to the disk."""
        with self._record.writing():
            self._record.add(counted.to_json())

    @contextlib.contextmanager
    def writing(self, names: Iterable[str]) -> Iterator[None]:
        """Name the files that are written next, so that a later run can remove them.

        Raises:
            OutputError: A file cannot be written, such as on a full disk.
        """
        with self._record.writing():
            self._record.add({"files": list(names)})
            yield
