"""Measuring the pixels of many photos, each once: what is measured is kept for later runs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recoseg.archive.tables import read_table
from recoseg.cores import usable_cores
from recoseg.errors import ArchiveError, BadImageError
from recoseg.executors import ahead
from recoseg.photos.images import decode_reduced
from recoseg.photos.reading import read_photo
from recoseg.photos.refs import Photo
from recoseg.progress import StageProgress
from recoseg.storage.atomic import write_atomically
from recoseg.storage.paths import inside

_PREFIX = "measures_"
_PER_FILE = 512
"""Photos per file. A run that is killed loses the photos of the file that it was filling."""
_AHEAD = 64
"""Photos that are read at a time."""


@dataclass(frozen=True)
class Kind:
    """A kind of measures.

    Attributes:
        name: Name of the folder of its files; other formulas need another name.
        title: What the progress is called.
        columns: Names of the measures, m.
        short_side: Photos are scaled down to this short side, pixels.
        measure: The measures of a photo, (m,), by its pixels, (h, w, 3) uint8, and the width and
            height of the whole photo.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    short_side: int
    measure: Callable[[np.ndarray, tuple[int, int]], np.ndarray]

    @property
    def types(self) -> dict[str, Any]:
        """The columns of its files."""
        return {"photo_id": pa.string(), **dict.fromkeys(self.columns, pa.float32())}


@dataclass(frozen=True)
class Measures:
    """What was measured of n photos.

    Attributes:
        columns: Names of the measures, m.
        values: (n, m) float32; NaN for photos that were not measured.
        failures: The photos that could not be read, each with its reason.
    """

    columns: tuple[str, ...]
    values: np.ndarray
    failures: tuple[Photo, ...]

    def __getitem__(self, name: str) -> np.ndarray:
        """One measure of all photos, (n,) float32."""
        return self.values[:, self.columns.index(name)]


def measure_photos(
    photos: Iterable[tuple[int, Photo]],
    count: int,
    folder: Path,
    kind: Kind,
    *,
    threads: int | None = None,
    progress: bool | None = False,
) -> Measures:
    """Measure photos that have not been measured before.

    Photos are known by their ids, that is by their content, so that measures stay valid when the
    index changes. Photos that cannot be read are tried again by each run.

    Args:
        photos: The photos and their positions.
        count: Number of photos of the archive, n.
        folder: The folder that holds the folder of measures, which is filled file by file.
        kind: What is measured.
        threads: Threads that read and measure. By default one per processor, at most 16.
        progress: See `StageProgress`.
    """
    values = np.full((count, len(kind.columns)), np.nan, np.float32)
    place = inside(folder, kind.name)
    known, rows, number = _read_all(place, kind)
    done, waiting = 0, []
    for position, photo in photos:
        row = known.get(photo.id)
        if row is None:
            waiting.append((position, photo))
        else:
            values[position] = rows[row]
            done += 1
    failures: list[Photo] = []
    file = _Files(place, number, kind)
    with (
        contextlib.closing(file),  # an interrupted run keeps what it has measured
        StageProgress(kind.title, done + len(waiting), start=done, enabled=progress) as bar,
        ThreadPoolExecutor(threads or min(16, usable_cores())) as pool,
    ):
        measured = ahead(pool, partial(_measured, kind), (photo for _, photo in waiting), _AHEAD)
        for (position, photo), result in zip(waiting, measured, strict=True):
            bar.advance(failed=int(isinstance(result, Photo)))
            if isinstance(result, Photo):
                failures.append(result)
            else:
                values[position] = result
                file.add(photo.id, result)
    return Measures(kind.columns, values, tuple(failures))


class _Files:
    """Measures on their way into files.

    Args:
        folder: The folder of measures.
        number: Number of the next file.
        kind: What is measured.
    """

    def __init__(self, folder: Path, number: int, kind: Kind) -> None:
        self._folder = folder
        self._kind = kind
        self._number = number
        self._ids: list[str] = []
        self._rows: list[np.ndarray] = []

    def add(self, photo_id: str, row: np.ndarray) -> None:
        """Add the measures of a photo; a full file is written."""
        self._ids.append(photo_id)
        self._rows.append(row)
        if len(self._ids) == _PER_FILE:
            self.close()

    def close(self) -> None:
        """Write what is waiting."""
        if self._ids:
            values = np.stack(self._rows).astype(np.float32)
            table = pa.table([pa.array(self._ids), *values.T], schema=pa.schema(self._kind.types))
            path = self._folder / f"{_PREFIX}{self._number}.parquet"
            write_atomically(path, lambda file: pq.write_table(table, file))
            self._number += 1
            self._ids, self._rows = [], []


def _measured(kind: Kind, photo: Photo) -> np.ndarray | Photo:
    """The measures of a photo, or the photo with the reason why it cannot be read."""
    try:
        image, size = decode_reduced(read_photo(photo), kind.short_side)
    except BadImageError as error:
        return photo.failed(str(error))
    except MemoryError:
        return photo.failed("too large for this machine's memory")
    return kind.measure(np.asarray(image), size)


def _read_all(folder: Path, kind: Kind) -> tuple[dict[str, int], np.ndarray, int]:
    """The rows of measures by photo id, the measures, and the number of the next file.

    Damaged files are passed over: their photos are measured again.
    """
    known: dict[str, int] = {}
    parts = [np.empty((0, len(kind.columns)), np.float32)]
    numbers = [-1]
    for path in sorted(folder.glob(f"{_PREFIX}*.parquet")) if folder.is_dir() else ():
        digits = path.stem.removeprefix(_PREFIX)
        if not digits.isdecimal():
            continue
        numbers.append(int(digits))
        try:
            table = read_table(path, kind.types, required=tuple(kind.types))
        except ArchiveError:
            continue
        start = sum(map(len, parts))
        ids = map(str, table["photo_id"].to_pylist())
        known.update((photo_id, start + at) for at, photo_id in enumerate(ids))
        parts.append(np.stack([table[name].to_numpy() for name in kind.columns], 1))
    return known, np.concatenate(parts), max(numbers) + 1
