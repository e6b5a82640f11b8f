"""Files of a region memory.

    MEMORY/
      manifest.json               encoders, regions, size, precision, versions, counts
      photos/photos_0.parquet     one row per photo, also of photos without regions
      regions/regions_0.parquet   row i: photo, area and place of a region
      keys/keys_0.npy             row i: its key, float16 (n, sum of the phi dimensions)
      values/values_0.npy         row i: its values, float16 (n, sum of the text dimensions)
      shards/shard_0.json         the marker: written last, it makes the shard valid

The keys of several phi follow each other in a row. Each is unit, divided by the square root of
their number, so that the row is unit, too, and one product of two rows gives the mean of the
cosines. Values are unit for each text encoder.

A shard without a marker was left behind by a killed run. A marker holds the checksums of its
shard's files. It can say that its shard replaces an older one, which is ignored from then on.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Float

from recoseg.errors import ArchiveError, FileError, RecosegError
from recoseg.photos.refs import Photo
from recoseg.storage.atomic import remove_leftovers, write_bytes
from recoseg.storage.checksums import write_with_checksum
from recoseg.storage.fields import read_fields
from recoseg.storage.sealed import read_sealed, sealed

Part = Literal["photos", "regions", "keys", "values"]
"""One of the files of a shard."""

MARKER_BYTES = 1 << 20
"""Maximum size of a marker, bytes."""

_SUFFIXES: dict[Part, str] = {
    "photos": ".parquet",
    "regions": ".parquet",
    "keys": ".npy",
    "values": ".npy",
}
_MOST = 1_000_000_000
_NAME = re.compile(r"(photos|regions|keys|values|shard)_(0|[1-9]\d{0,8})\.(npy|parquet|json)")
_PHOTO_TYPES: dict[str, Any] = {
    "photo_id": pa.string(),
    "image_path": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "bytes": pa.int64(),
    "offset": pa.int64(),
    "regions": pa.int32(),
    "region_stamp": pa.string(),
}
_REGION_TYPES: dict[str, Any] = {
    "photo": pa.int32(),
    "area": pa.float32(),
    **dict.fromkeys(("top", "left", "bottom", "right"), pa.float32()),
}
TABLES: dict[str, Any] = {"photos": pa.schema(_PHOTO_TYPES), "regions": pa.schema(_REGION_TYPES)}
"""Columns of the tables. `photo` is the row of the photo in the shard's table of photos; `area` is
the fraction of the centre crop, and the other four are the box around the region in the crop, 0 to
1. `region_stamp` is there only if the regions were stored ones; see `StoredRegions`."""
REQUIRED: dict[str, list[str]] = {
    part: [name for name in schema.names if name != "region_stamp"]
    for part, schema in TABLES.items()
}
"""The columns that a table must have."""
FOLDERS = (*_SUFFIXES, "shards")
"""The folders of a memory."""


@dataclass(frozen=True)
class MemoryShard:
    """The marker of a finished shard.

    Attributes:
        number: Number in the names of its files.
        photos: Number of its photos, with or without regions.
        regions: Number of its regions.
        replaces: Number of the shard that it replaces, if any; less than its own.
        checksums: Checksum of each of its files by the name of the part; those without rows have
            no file.
        bytes: Size of its files together, bytes.

    Raises:
        ArchiveError: A number is negative or absurd.
    """

    number: int
    photos: int
    regions: int
    replaces: int | None = None
    checksums: dict[str, str] = field(default_factory=dict)
    bytes: int = 0

    def __post_init__(self) -> None:
        for name in ("number", "photos", "regions"):
            if not 0 <= getattr(self, name) < _MOST:
                raise ArchiveError(f"{name} is {getattr(self, name)}")
        if self.replaces is not None and not 0 <= self.replaces < self.number:
            raise ArchiveError(f"shard {self.number} replaces shard {self.replaces}")
        if not self.checksums.keys() <= _SUFFIXES.keys():
            raise ArchiveError(f"it has the files {', '.join(self.checksums)}")


@dataclass(frozen=True, eq=False)
class RegionRows:
    """The photos of a shard, and their regions in the order of the photos.

    Attributes:
        photos: The photos.
        ids: Id of each photo, as the index says.
        counts: Number of regions of each photo, (p,).
        keys: (n, C) float16, rows unit.
        values: (n, d) float16, unit for each text encoder.
        areas: Fraction of the crop that each region takes, (n,) float32.
        boxes: Top, left, bottom and right of each region as fractions of the crop, (n, 4) float32.
        stamps: For each photo the stamp of its stored regions; see `StoredRegions`. Empty if there
            are none.
    """

    photos: tuple[Photo, ...]
    ids: tuple[str, ...]
    counts: np.ndarray
    keys: Float[np.ndarray, "n C"]
    values: Float[np.ndarray, "n d"]
    areas: Float[np.ndarray, " n"]
    boxes: Float[np.ndarray, "n 4"]
    stamps: tuple[str, ...] = ()

    def only(self, kept: np.ndarray) -> RegionRows:
        """The rows of some of the photos.

        Args:
            kept: For each photo whether it is kept, (p,) bool.
        """
        rows = np.repeat(kept, self.counts)
        return RegionRows(
            tuple(photo for photo, keep in zip(self.photos, kept, strict=True) if keep),
            tuple(name for name, keep in zip(self.ids, kept, strict=True) if keep),
            self.counts[kept],
            self.keys[rows],
            self.values[rows],
            self.areas[rows],
            self.boxes[rows],
            tuple(stamp for stamp, keep in zip(self.stamps, kept, strict=False) if keep),
        )


def part_name(part: Part, number: int) -> str:
    """Name of a file of a shard, with `/` between folder and file."""
    return f"{part}/{part}_{number}{_SUFFIXES[part]}"


def marker_name(number: int) -> str:
    """Name of the marker of a shard."""
    return f"shards/shard_{number}.json"


def write_shard(root: Path, number: int, rows: RegionRows, replaces: int | None) -> MemoryShard:
    """Write a shard. Its marker is written last, so a shard is either complete or ignored.

    Args:
        root: Folder of the memory.
        number: Number of the shard.
        rows: Its photos and regions.
        replaces: Number of the shard that it replaces; None if there is none.

    Returns:
        The marker.

    Raises:
        OSError: A file cannot be written.
    """
    sums: dict[str, str] = {}
    size = 0

    def write(part: Part, fill: Callable[[Any], object]) -> None:
        nonlocal size
        path = root / part_name(part, number)
        sums[part] = write_with_checksum(path, fill)
        size += path.stat().st_size

    if rows.photos:
        table = _photo_table(rows)
        write("photos", lambda file: pq.write_table(table, file))
    if len(rows.keys):
        places = _region_table(rows)
        write("regions", lambda file: pq.write_table(places, file))
        write("keys", lambda file: np.save(file, rows.keys, allow_pickle=False))
        write("values", lambda file: np.save(file, rows.values, allow_pickle=False))
    shard = MemoryShard(number, len(rows.photos), len(rows.keys), replaces, sums, size)
    write_bytes(root / marker_name(number), sealed(asdict(shard)))
    return shard


def read_marker(path: Path) -> MemoryShard:
    """Read the marker of a shard.

    Raises:
        ArchiveError: It is damaged, or its name has another number.
    """
    try:
        shard = read_fields(MemoryShard, read_sealed(path, MARKER_BYTES)[0])
    except (FileError, RecosegError) as error:
        raise ArchiveError(
            f"{path} is damaged ({str(error)[:300]}). Delete it and run `recoseg remember` again."
        ) from error
    if marker_name(shard.number) != f"shards/{path.name}":
        raise ArchiveError(
            f"{path} is damaged (it has the number {shard.number}). Delete it and run `recoseg "
            "remember` again."
        )
    return shard


def read_shards(root: Path) -> tuple[list[MemoryShard], list[int]]:
    """The valid shards, sorted by number, and the numbers of replaced shards.

    Raises:
        ArchiveError: A marker is damaged.
    """
    return valid_shards([read_marker(path) for _, path in numbered(root / "shards")])


def valid_shards(shards: Sequence[MemoryShard]) -> tuple[list[MemoryShard], list[int]]:
    """The shards that no other one replaces, by number, and the numbers of replaced shards."""
    replaced = {shard.replaces for shard in shards if shard.replaces is not None}
    valid = [shard for shard in shards if shard.number not in replaced]
    return sorted(valid, key=lambda shard: shard.number), sorted(replaced)


def clean(root: Path) -> None:
    """Remove replaced shards and what killed runs have left; the caller holds the lock.

    Only files that are named as those of shards are removed, and links to folders are not followed.

    Raises:
        ArchiveError: A marker is damaged; nothing was removed.
        OSError: A file cannot be removed.
    """
    valid, replaced = read_shards(root)
    folders = [root / name for name in FOLDERS if not (root / name).is_symlink()]
    for number in replaced:  # oldest first: a marker is removed after the shard that it replaces
        for folder in folders:
            for found, path in numbered(folder):
                if found == number:
                    path.unlink(missing_ok=True)
    numbers = {shard.number for shard in valid}
    for folder in folders:
        for number, path in numbered(folder):
            if number not in numbers:
                path.unlink(missing_ok=True)
        remove_leftovers(folder)
    remove_leftovers(root)


def shard_number(folder: str, name: str) -> int:
    """The number in a name that a shard's file in this folder can have; -1 for other names."""
    found = _NAME.fullmatch(name)
    if not found:
        return -1
    number = int(found[2])
    if folder == "shards":
        return number if name == marker_name(number).rpartition("/")[2] else -1
    expected = {part: part_name(part, number) for part in _SUFFIXES}
    return number if f"{folder}/{name}" in expected.values() else -1


def numbered(folder: Path) -> list[tuple[int, Path]]:
    """The files in a folder of a memory that are named as those of shards, sorted by number."""
    if not folder.is_dir():
        return []
    found = [(shard_number(folder.name, path.name), path) for path in folder.iterdir()]
    return sorted(pair for pair in found if pair[0] >= 0)


def photos_of(rows: Sequence[dict[str, Any]]) -> tuple[tuple[Photo, ...], tuple[str, ...]]:
    """The photos and their ids, from the rows of a table of photos."""
    photos = tuple(
        Photo(
            row["image_path"],
            size=row["bytes"],
            offset=row["offset"],
            width=row["width"],
            height=row["height"],
        )
        for row in rows
    )
    return photos, tuple(row["photo_id"] for row in rows)


def _photo_table(rows: RegionRows) -> Any:
    columns = {
        "photo_id": list(rows.ids),
        "image_path": [photo.path for photo in rows.photos],
        "width": [photo.width for photo in rows.photos],
        "height": [photo.height for photo in rows.photos],
        "bytes": [photo.size for photo in rows.photos],
        "offset": [photo.offset for photo in rows.photos],
        "regions": rows.counts.astype(np.int32),
    }
    schema = TABLES["photos"]
    if any(rows.stamps):
        columns["region_stamp"] = list(rows.stamps)
    else:
        schema = schema.remove(schema.get_field_index("region_stamp"))
    return pa.table(columns, schema=schema)


def _region_table(rows: RegionRows) -> Any:
    photo = np.repeat(np.arange(len(rows.photos), dtype=np.int32), rows.counts)
    sides = zip(("top", "left", "bottom", "right"), rows.boxes.T, strict=True)
    columns = {"photo": photo, "area": rows.areas, **dict(sides)}
    return pa.table(columns, schema=TABLES["regions"])
