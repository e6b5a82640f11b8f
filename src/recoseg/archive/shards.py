"""Opening shards: embeddings are memory-mapped and checked before they are used."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recoseg.archive.layout import Shard, read_shards, shard_files
from recoseg.archive.manifest import Manifest
from recoseg.archive.mirror import Mirror, RemoteRows
from recoseg.errors import ArchiveError
from recoseg.photos.refs import natural_key

_PROBES = 16
_NORM_TOLERANCE = 0.02


@dataclass(frozen=True)
class OpenShard:
    """The embeddings of a shard, and the table that describes their rows.

    Attributes:
        rows: Memory-mapped embeddings (n, d), float16 or float32, rows L2-normalised.
        metadata: Path of the table.
        marker: Marker of the shard; None in folders of other programs.
    """

    rows: np.ndarray | RemoteRows
    metadata: Path
    marker: Shard | None = None


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
        if mirror and marker.photos:
            shape = (marker.photos, manifest.encoder.dim)
            shards.append(OpenShard(RemoteRows(mirror, array, shape), metadata, marker))
            continue
        rows = (
            _map(array, manifest.encoder.dim)
            if marker.photos
            else np.empty((0, manifest.encoder.dim), np.float16)
        )
        if len(rows) != marker.photos:
            raise ArchiveError(
                f"{array} has {len(rows)} rows. Expected {marker.photos}, as its marker says. "
                f"Delete {shard_files(root, marker.number)[3]} and run `recoseg index` again."
            )
        shards.append(OpenShard(rows, metadata, marker))
    return shards


def foreign_shards(root: Path) -> list[OpenShard]:
    """The shards of a folder of embeddings that clip-retrieval wrote.

    Raises:
        ArchiveError: There are no embeddings, files cannot be read or do not match each other, or
            embeddings are not L2-normalised.
    """
    arrays = sorted((root / "img_emb").glob("*.npy"), key=lambda path: natural_key(path.name))
    tables = sorted((root / "metadata").glob("*.parquet"), key=lambda path: natural_key(path.name))
    if not arrays:
        raise ArchiveError(
            f"No index at {root}. Expected img_emb/img_emb_*.npy and metadata/metadata_*.parquet. "
            "Build an index with `recoseg index SOURCE --out INDEX`."
        )
    if len(arrays) != len(tables):
        raise ArchiveError(
            f"{root} has {len(arrays)} files of embeddings and {len(tables)} of metadata. "
            "Expected one metadata_*.parquet for each img_emb_*.npy."
        )
    shards: list[OpenShard] = []
    for array, table in zip(arrays, tables, strict=True):
        rows = _map(array, int(shards[0].rows.shape[1]) if shards else None)
        try:
            schema, count = pq.read_schema(table), pq.read_metadata(table).num_rows
        except (OSError, pa.ArrowException) as error:
            raise ArchiveError(f"{table} is not a readable parquet file: {error}") from error
        if "image_path" not in schema.names:
            raise ArchiveError(
                f"{table} has the columns {', '.join(schema.names)}. Expected `image_path` among "
                "them: run clip-retrieval inference on images, or add the column."
            )
        check_rows(table, len(rows), count)
        _check_norms(array, rows)
        shards.append(OpenShard(rows, table))
    return shards


def _map(path: Path, dim: int | None) -> np.ndarray:
    try:
        # Copy on write: torch needs writable arrays, but the file must not change.
        rows: np.ndarray = np.load(path, mmap_mode="c", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise ArchiveError(
            f"{path} is not a readable array ({error}). Build the index again."
        ) from error
    shown = f"{rows.dtype} {rows.shape}"
    if rows.ndim != 2 or rows.dtype.name not in ("float16", "float32"):
        raise ArchiveError(f"{path} holds {shown}. Expected (n, d) of float16 or float32.")
    if dim is not None and rows.shape[1] != dim:
        raise ArchiveError(
            f"{path} holds {shown}. Expected {dim} columns as in the other shards: do not mix "
            "embeddings of different models."
        )
    return rows


def check_rows(path: Path, rows: int, got: int) -> None:
    """Refuse a table that does not have one row per embedding.

    Args:
        path: Path of the table.
        rows: Number of embeddings.
        got: Number of rows of the table.

    Raises:
        ArchiveError: The numbers differ.
    """
    if rows != got:
        raise ArchiveError(
            f"{path} has {got} rows for {rows} embeddings. Expected one row per embedding, in the "
            "same order: build this shard again."
        )


def _check_norms(path: Path, rows: np.ndarray) -> None:
    if not len(rows):
        return
    sample = rows[np.linspace(0, len(rows) - 1, _PROBES).astype(int)].astype(np.float32)
    norms = np.linalg.norm(sample, axis=1)
    if not np.all(np.abs(norms - 1) < _NORM_TOLERANCE):
        worst = float(norms[np.argmax(np.abs(norms - 1))])
        raise ArchiveError(
            f"{path} has rows of length {worst:.3g}. Expected L2-normalised embeddings (length 1): "
            "divide each row by its length and save the array again."
        )
