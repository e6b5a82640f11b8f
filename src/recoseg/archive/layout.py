"""Files of an index: clip-retrieval's folders, a manifest, and a marker for each finished shard.

    INDEX/
      manifest.json                   encoder, frame, precision, versions, counts
      img_emb/img_emb_0.npy           float16 (n, d), rows L2-normalised
      metadata/metadata_0.parquet     row i describes row i of img_emb_0.npy
      failures/failures_0.parquet     photos that could not be used, each with its reason
      shards/shard_0.json             the marker: written last, it makes the shard valid

Every file is written under a temporary name, flushed to disk and renamed. A shard without a marker
was left behind by a killed run. A marker can say that its shard replaces an older one, which is
ignored from then on, so that changed photos are replaced in one atomic step.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recoseg.errors import ArchiveError, RecosegError
from recoseg.photos.refs import Photo
from recoseg.storage.atomic import TEMPORARY, write_atomically
from recoseg.storage.fields import read_fields, to_json

_NUMBER = re.compile(r"(\d+)\.(npy|parquet|json)$")
_METADATA_TYPES: dict[str, Any] = {
    "image_path": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "bytes": pa.int64(),
    "stamp": pa.string(),
    "hash": pa.string(),
    "offset": pa.int64(),
}
_FAILURE_TYPES: dict[str, Any] = dict.fromkeys(("image_path", "reason", "stamp"), pa.string())
_METADATA = pa.schema(_METADATA_TYPES)
_FAILURES = pa.schema(_FAILURE_TYPES)
_FIELDS = {"image_path": "path", "bytes": "size", "reason": "failure"}
"""Field of `Photo` for each column whose name differs from that of the field."""


@dataclass(frozen=True)
class Shard:
    """The marker of a finished shard.

    Attributes:
        number: Number in the names of its files.
        source: Name of the source of its photos.
        photos: Number of rows of its embeddings and metadata.
        failures: Number of rows of its failures.
        replaces: Number of the shard that it replaces, if any.
    """

    number: int
    source: str
    photos: int
    failures: int
    replaces: int | None = None


def shard_files(root: Path, number: int) -> tuple[Path, Path, Path, Path]:
    """Paths of the embeddings, metadata, failures and marker of a shard."""
    return (
        root / "img_emb" / f"img_emb_{number}.npy",
        root / "metadata" / f"metadata_{number}.parquet",
        root / "failures" / f"failures_{number}.parquet",
        root / "shards" / f"shard_{number}.json",
    )


def write_shard(
    root: Path,
    shard: Shard,
    embeddings: np.ndarray,
    photos: Sequence[Photo],
    failures: Sequence[Photo],
) -> None:
    """Write a shard. Its marker is written last, so a shard is either complete or ignored.

    Args:
        root: Folder of the index.
        shard: Marker of the shard.
        embeddings: (n, d) float16, rows L2-normalised.
        photos: The n photos, in the order of the rows.
        failures: Photos that cannot be used, each with its failure.
    """
    array, metadata, failed, marker = shard_files(root, shard.number)
    if len(embeddings):  # other programs fail on files without rows
        write_atomically(array, lambda file: np.save(file, embeddings, allow_pickle=False))
        write_atomically(metadata, lambda file: pq.write_table(_table(photos, _METADATA), file))
    if failures:
        write_atomically(failed, lambda file: pq.write_table(_table(failures, _FAILURES), file))
    write_atomically(marker, lambda file: file.write(to_json(asdict(shard))))


def read_shards(root: Path) -> tuple[list[Shard], list[int]]:
    """The valid shards, sorted by number, and the numbers of replaced shards.

    Raises:
        ArchiveError: A marker is damaged.
    """
    shards = []
    for path in _numbered(root / "shards", ".json"):
        try:
            shards.append(read_fields(Shard, json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, RecosegError) as error:
            raise ArchiveError(
                f"{path} is damaged. Delete it and run `recoseg index` again."
            ) from error
    replaced = {shard.replaces for shard in shards if shard.replaces is not None}
    valid = [shard for shard in shards if shard.number not in replaced]
    return valid, sorted(number for number in replaced if number is not None)


def read_failures(root: Path, shard: Shard) -> list[Photo]:
    """The photos of a shard that cannot be used."""
    if not shard.failures:
        return []
    table = pq.read_table(shard_files(root, shard.number)[2], schema=_FAILURES)
    return [photo_of(row) for row in table.to_pylist()]


def clean(root: Path) -> None:
    """Remove temporary files, shards without a marker and replaced shards.

    The caller must hold the write lock of the index.
    """
    valid, replaced = read_shards(root)
    for number in replaced:  # oldest first: a marker is removed after the shard that it replaces
        for path in shard_files(root, number):
            path.unlink(missing_ok=True)
    numbers = {shard.number for shard in valid}
    for folder in {path.parent for path in shard_files(root, 0)}:
        for path in folder.glob(f"{TEMPORARY}*"):
            path.unlink()
        for path in _numbered(folder, ""):
            if file_number(path) not in numbers:
                path.unlink()
    for path in root.glob(f"{TEMPORARY}*"):
        path.unlink()


def file_number(path: Path) -> int:
    """The number in a shard file's name, zero-padded or not; -1 if it has none."""
    found = _NUMBER.search(path.name)
    return int(found[1]) if found else -1


def _numbered(folder: Path, suffix: str) -> list[Path]:
    found = [
        path
        for path in folder.glob(f"*{suffix}")
        if file_number(path) >= 0 and not path.name.startswith(TEMPORARY)
    ]
    return sorted(found, key=file_number)


def photo_of(row: Mapping[str, Any]) -> Photo:
    """The photo of a row of metadata or failures; absent and null columns keep their defaults."""
    known = {_FIELDS.get(name, name): value for name, value in row.items() if value is not None}
    return Photo(**known)


def _table(photos: Sequence[Photo], schema: Any) -> Any:
    rows = [
        {name: getattr(photo, _FIELDS.get(name, name)) for name in schema.names} for photo in photos
    ]
    return pa.Table.from_pylist(rows, schema=schema)
