"""Opening shards: embeddings are memory-mapped and checked before they are used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recoseg.archive.layout import Shard, read_shards, shard_files
from recoseg.archive.manifest import Manifest
from recoseg.archive.mirror import Mirror, RemoteRows
from recoseg.archive.rows import check_values, map_rows
from recoseg.archive.tables import describe_table
from recoseg.errors import ArchiveError
from recoseg.photos.folder_files import files_of
from recoseg.photos.refs import local_stamp
from recoseg.storage.counts import count_of


@dataclass(frozen=True)
class OpenShard:
    """The embeddings of a shard, and the table that describes their rows.

    Attributes:
        rows: Memory-mapped embeddings (n, d), float16 or float32, rows L2-normalised.
        metadata: Path of the table.
        marker: Marker of the shard; None in folders of other programs.
        content: Checksum of the embeddings or, if none was recorded, a stamp of their file.
    """

    rows: np.ndarray | RemoteRows
    metadata: Path
    marker: Shard | None = None
    content: str = ""


def own_shards(root: Path, manifest: Manifest, mirror: Mirror | None) -> list[OpenShard]:
    """The finished shards of an index that recoseg wrote.

    Args:
        root: Folder of the index.
        manifest: Its manifest.
        mirror: The mirror of a remote index, whose embeddings are fetched when they are used.

    Raises:
        ArchiveError: Embeddings cannot be read or do not match their marker.
    """
    shards = []
    for marker in read_shards(root)[0]:
        array, metadata, _, _ = shard_files(root, marker.number)
        shape = (marker.photos, manifest.encoder.dim)
        rows: np.ndarray | RemoteRows
        if not marker.photos:
            rows = np.empty(shape, np.float16)
            content = ""
        elif mirror:
            rows = RemoteRows(mirror, array, shape, marker.checksums.embeddings)
            content = marker.checksums.embeddings or mirror.root.name
        else:
            rows = map_rows(array, manifest.encoder.dim, marker.photos)
            content = marker.checksums.embeddings or local_stamp(array.stat())
        shards.append(OpenShard(rows, metadata, marker, content))
    return shards


def foreign_shards(root: Path, place: str) -> list[OpenShard]:
    """The shards of a folder of embeddings that clip-retrieval wrote.

    Args:
        root: The folder.
        place: The folder or URL as the user has named it, for messages.

    Raises:
        ArchiveError: There are no embeddings, files cannot be read or do not match each other, or
            any embedding is not finite or not L2-normalised.
    """
    arrays = files_of(root / "img_emb", "*.npy")
    tables = files_of(root / "metadata", "*.parquet")
    if not arrays:
        raise ArchiveError(
            f"No index was found at {place}. Expected img_emb/img_emb_*.npy and "
            "metadata/metadata_*.parquet. Build an index with `recoseg index SOURCE --out INDEX`."
        )
    if len(arrays) != len(tables):
        raise ArchiveError(
            f"{root} has {count_of(len(arrays), 'files')} of embeddings and {len(tables):,} of "
            "metadata. Expected one metadata_*.parquet for each img_emb_*.npy."
        )
    shards: list[OpenShard] = []
    found: list[np.ndarray] = []
    for array, table in zip(arrays, tables, strict=True):
        rows = map_rows(array, int(shards[0].rows.shape[1]) if shards else None)
        count, names = describe_table(table)
        if "image_path" not in names:
            raise ArchiveError(
                f"{table} has the columns {', '.join(names)[:200]}. Expected `image_path` among "
                "them: run clip-retrieval inference on images, or add the column."
            )
        if len(rows) != count:
            raise ArchiveError(
                f"{table} has {count_of(count, 'rows')} for {count_of(len(rows), 'embeddings')}. "
                "Expected one row per embedding, in the same order: build this shard again."
            )
        shards.append(OpenShard(rows, table, content=local_stamp(array.stat())))
        found.append(rows)
    check_values(root, arrays, found)
    return shards
