"""Files of an index: clip-retrieval's folders, a manifest, and a marker for each finished shard.

    INDEX/
      manifest.json                   encoder, frame, precision, versions, counts
      img_emb/img_emb_0.npy           float16 (n, d), rows L2-normalised
      metadata/metadata_0.parquet     row i describes row i of img_emb_0.npy
      failures/failures_0.parquet     photos that could not be used, each with its reason
      shards/shard_0.json             the marker: written last, it makes the shard valid
      unfinished.json                 only while a run is writing: the numbers of its shards

Every file is written under a temporary name, flushed to disk and renamed. A marker holds the
checksums of its shard's files; marker and manifest hold a checksum of their own fields. A marker
can say that its shard replaces an older one, which is ignored from then on, so that changed photos
are replaced in one atomic step.

A run deletes nothing but shards that a marker replaces, files without a marker whose numbers
`unfinished.json` names, which a killed run left behind, and its own temporary files. A replaced
shard is deleted only when the files of its replacement are there and whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from recoseg.archive.tables import FAILURES, METADATA, photo_of, read_table, table_of
from recoseg.errors import ArchiveError, FileError, MissingFileError, RecosegError
from recoseg.photos.refs import Photo
from recoseg.storage.atomic import remove_leftovers, write_bytes
from recoseg.storage.checksums import check_file, write_with_checksum
from recoseg.storage.fields import read_fields
from recoseg.storage.sealed import read_sealed, sealed

FOLDERS = ("img_emb", "metadata", "failures", "shards")
"""The folders of an index, in the order in which a shard's files are written."""
MARKER_BYTES = 1 << 20
"""Maximum size of a marker, bytes."""

UNFINISHED = "unfinished.json"
"""The file that a run has while it writes."""
_MOST = 1_000_000_000
"""Maximum number of a shard, and of its photos."""
_NAME = re.compile(
    r"(img_emb)_(0|[1-9]\d{0,8})\.npy|(metadata|failures)_(0|[1-9]\d{0,8})\.parquet"
    r"|(shard)_(0|[1-9]\d{0,8})\.json"
)


@dataclass(frozen=True)
class ShardChecksums:
    """Checksums of the files of a shard; empty for files that do not exist or have none."""

    embeddings: str = ""
    metadata: str = ""
    failures: str = ""


@dataclass(frozen=True)
class Shard:
    """The marker of a finished shard.

    Attributes:
        number: Number in the names of its files.
        source: Name of the source of its photos.
        photos: Number of rows of its embeddings and metadata.
        failures: Number of rows of its failures.
        replaces: Number of the shard that it replaces, if any; less than its own.
        checksums: Checksums of its files; early versions recorded none.

    Raises:
        ArchiveError: A number is negative or absurd.
    """

    number: int
    source: str
    photos: int
    failures: int
    replaces: int | None = None
    checksums: ShardChecksums = field(default_factory=ShardChecksums)

    def __post_init__(self) -> None:
        for name in ("number", "photos", "failures"):
            if not 0 <= getattr(self, name) < _MOST:
                raise ArchiveError(f"{name} is {getattr(self, name)}")
        if self.replaces is not None and not 0 <= self.replaces < self.number:
            raise ArchiveError(f"shard {self.number} replaces shard {self.replaces}")


def shard_files(root: Path, number: int) -> tuple[Path, Path, Path, Path]:
    """Paths of the embeddings, metadata, failures and marker of a shard."""
    return (
        root / "img_emb" / f"img_emb_{number}.npy",
        root / "metadata" / f"metadata_{number}.parquet",
        root / "failures" / f"failures_{number}.parquet",
        root / "shards" / f"shard_{number}.json",
    )


def shard_number(name: str) -> int:
    """The number in the name of a shard's file, as `shard_files` gives it; -1 for other names."""
    found = _NAME.fullmatch(name)
    return int(found[2] or found[4] or found[6]) if found else -1


def is_shard_file(name: str) -> bool:
    """Whether a name such as `shards/shard_0.json` is that of a file of some shard."""
    number = shard_number(name.rpartition("/")[2])
    return number >= 0 and name in {path.as_posix() for path in shard_files(Path(), number)}


def write_shard(
    root: Path,
    shard: Shard,
    embeddings: np.ndarray,
    photos: Sequence[Photo],
    failures: Sequence[Photo],
) -> Shard:
    """Write a shard. Its marker is written last, so a shard is either complete or ignored.

    Args:
        root: Folder of the index.
        shard: Marker of the shard, without the checksums of its files.
        embeddings: (n, d) float16, rows L2-normalised.
        photos: The n photos, in the order of the rows.
        failures: Photos that cannot be used, each with its failure.

    Returns:
        The marker as it was written.

    Raises:
        OSError: A file cannot be written.
    """
    array, metadata, failed, marker = shard_files(root, shard.number)
    sums = {"embeddings": "", "metadata": "", "failures": ""}
    if len(embeddings):  # other programs fail on files without rows
        sums["embeddings"] = write_with_checksum(
            array, lambda file: np.save(file, embeddings, allow_pickle=False)
        )
        table = table_of(photos, METADATA)
        sums["metadata"] = write_with_checksum(metadata, lambda file: pq.write_table(table, file))
    if failures:
        rows = table_of(failures, FAILURES)
        sums["failures"] = write_with_checksum(failed, lambda file: pq.write_table(rows, file))
    shard = replace(shard, checksums=ShardChecksums(**sums))
    write_bytes(marker, sealed(asdict(shard)))
    return shard


def read_marker(path: Path) -> tuple[Shard, bool]:
    """Read the marker of a shard.

    Returns:
        The marker, and whether it holds a checksum of its own fields.

    Raises:
        ArchiveError: It is damaged, or its name has another number.
    """
    advice = "Delete it and run `recoseg index` again."
    try:
        fields, has_checksum = read_sealed(path, MARKER_BYTES)
        shard = read_fields(Shard, fields)
    except FileError as error:
        raise ArchiveError(f"{error} {advice}") from error
    except RecosegError as error:
        raise ArchiveError(f"{path} is damaged ({str(error)[:300]}). {advice}") from error
    if shard.number != shard_number(path.name):
        raise ArchiveError(f"{path} is damaged (it has the number {shard.number}). {advice}")
    return shard, has_checksum


def marker_paths(root: Path) -> list[Path]:
    """Paths of the markers of an index, sorted by number."""
    return [path for _, path in sorted(_numbered(root / "shards"))]


def read_shards(root: Path) -> tuple[list[Shard], list[int]]:
    """The valid shards, sorted by number, and the numbers of replaced shards.

    Raises:
        ArchiveError: A marker is damaged.
    """
    return valid_shards([read_marker(path)[0] for path in marker_paths(root)])


def valid_shards(shards: Sequence[Shard]) -> tuple[list[Shard], list[int]]:
    """The shards that no other one replaces, and the sorted numbers of replaced shards."""
    replaced = {shard.replaces for shard in shards if shard.replaces is not None}
    return [shard for shard in shards if shard.number not in replaced], sorted(replaced)


def read_failures(root: Path, shard: Shard) -> list[Photo]:
    """The photos of a shard that cannot be used.

    Raises:
        ArchiveError: The file cannot be read or does not match its marker.
    """
    path = shard_files(root, shard.number)[2]
    return _listed(path, FAILURES, shard.failures, shard.checksums.failures)


def read_photos(root: Path, shard: Shard) -> list[Photo]:
    """The photos of a shard that have an embedding, in the order of its rows.

    Raises:
        ArchiveError: The file cannot be read or does not match its marker.
    """
    path = shard_files(root, shard.number)[1]
    return _listed(path, METADATA, shard.photos, shard.checksums.metadata)


def _listed(path: Path, columns: Mapping[str, Any], rows: int, recorded: str) -> list[Photo]:
    """The photos of a table, which is not written if it has no rows."""
    if not rows:
        return []
    table = read_table(path, columns, rows, recorded=recorded)
    return [photo_of(row) for row in table.to_pylist()]


def begin_run(root: Path, shards: int) -> int:
    """Record that a run is going to write shards; the caller holds the index's lock.

    Args:
        root: Folder of the index, which is clean.
        shards: Number of shards that the run writes.

    Returns:
        The number of its first shard, above those of all files that are there.
    """
    used = (number for name in FOLDERS for number, _ in _numbered(root / name))
    first = max(used, default=-1) + 1
    if shards:
        write_bytes(root / UNFINISHED, sealed({"first": first, "stop": first + shards}))
    return first


def clean(root: Path) -> None:
    """Remove replaced shards and what killed runs have left; the caller holds the index's lock.

    Raises:
        ArchiveError: A marker is damaged, or files are damaged or missing whose shard replaces
            another; nothing was removed.
        OSError: A file cannot be removed.
    """
    valid, replaced = read_shards(root)
    if any(path.exists() for number in replaced for path in shard_files(root, number)):
        for shard in valid:
            if shard.replaces is not None:
                _check_replacement(root, shard)
    for number in replaced:  # oldest first: a marker is removed after the shard that it replaces
        for path in shard_files(root, number):
            path.unlink(missing_ok=True)
    marked = {number for number, _ in _numbered(root / "shards")}
    left = _unfinished(root)
    for name in FOLDERS:
        for number, path in list(_numbered(root / name)):
            if number in left and number not in marked:
                path.unlink(missing_ok=True)
        remove_leftovers(root / name)
    remove_leftovers(root)
    (root / UNFINISHED).unlink(missing_ok=True)


def _check_replacement(root: Path, shard: Shard) -> None:
    """Refuse a shard that replaces another one, but whose own files are damaged or missing."""
    *paths, marker = shard_files(root, shard.number)
    sums = shard.checksums
    rows = (shard.photos, shard.photos, shard.failures)
    recorded = (sums.embeddings, sums.metadata, sums.failures)
    for path, count, expected in zip(paths, rows, recorded, strict=True):
        try:
            if count and expected:
                check_file(path, expected)
            elif count and not path.is_file():  # early versions recorded no checksums
                raise MissingFileError(f"No file was found at {path}.")
        except FileError as error:
            raise ArchiveError(
                f"{error} Its shard replaces shard {shard.replaces}, which was kept. Delete the "
                f"marker {marker} and run `recoseg index` again."
            ) from error


def _unfinished(root: Path) -> range:
    """The numbers of the shards of a run that did not end; empty if there is no such run."""
    try:
        fields: dict[str, Any] = read_sealed(root / UNFINISHED, MARKER_BYTES)[0]
        return range(int(fields["first"]), int(fields["stop"]))
    except (FileError, KeyError, TypeError, ValueError, OverflowError):
        return range(0)


def _numbered(folder: Path) -> Iterator[tuple[int, Path]]:
    """The files in a folder of an index that are named as its shards are, with their numbers."""
    if not folder.is_dir():
        return
    prefix = "shard" if folder.name == "shards" else folder.name
    with os.scandir(folder) as entries:
        for entry in entries:
            number = shard_number(entry.name)
            if number >= 0 and entry.name.startswith(f"{prefix}_"):
                yield number, folder / entry.name
