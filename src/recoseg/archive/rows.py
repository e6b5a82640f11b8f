"""Rows of embeddings on disk: memory-mapped, and their values checked in blocks."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from recoseg.archive.repair import repair_advice
from recoseg.errors import ArchiveError, FileError
from recoseg.photos.refs import local_stamp
from recoseg.storage.arrays import map_array
from recoseg.storage.atomic import write_bytes
from recoseg.storage.cache import cache_folder
from recoseg.storage.counts import count_of
from recoseg.storage.sealed import read_sealed, sealed

NORM_TOLERANCE = 0.02
"""Maximum difference between the length of a row and 1."""

_BLOCK = 4096
_REMEMBERED_AFTER = 1.0
"""If the values of an index took longer to check, seconds, the verdict is remembered."""
_VERDICT_BYTES = 1 << 24


def map_rows(path: Path, dim: int | None, rows: int | None = None) -> np.ndarray:
    """Memory-map embeddings, of which changes stay in memory: torch needs writable arrays.

    Args:
        path: File of an array (n, d) of float16 or float32.
        dim: Its expected number of columns; None if any is right.
        rows: Its expected number of rows; None if any is right.

    Raises:
        ArchiveError: The file cannot be read, or is another array.
    """
    try:
        found, header = map_array(path, "c")
    except FileError as error:
        raise ArchiveError(f"{error} {repair_advice(path)}") from error
    shown = f"{header.dtype} {header.shape}"
    if len(header.shape) != 2 or not header.shape[1]:
        raise ArchiveError(f"{path} holds {shown}. Expected (n, d) of float16 or float32.")
    if dim is not None and header.shape[1] != dim:
        raise ArchiveError(
            f"{path} holds {shown}. Expected {dim} columns as in the other shards: do not mix "
            "embeddings of different models."
        )
    if rows is not None and header.shape[0] != rows:
        raise ArchiveError(
            f"{path} has {count_of(header.shape[0], 'rows')}. Expected {rows:,}, as its marker "
            f"says. {repair_advice(path)}"
        )
    return found


def wrong_rows(rows: np.ndarray) -> list[int]:
    """Numbers of the rows that are not finite or not L2-normalised, read in blocks.

    Args:
        rows: (n, d) float16 or float32.
    """
    found: list[int] = []
    for first in range(0, len(rows), _BLOCK):
        block = torch.from_numpy(np.asarray(rows[first : first + _BLOCK], np.float32))
        lengths = torch.linalg.vector_norm(block, dim=1)
        wrong = ~((lengths - 1).abs() < NORM_TOLERANCE)  # a length that is not finite, too
        found += (wrong.nonzero()[:, 0] + first).tolist()
    return found


def check_values(root: Path, paths: Sequence[Path], arrays: Sequence[np.ndarray]) -> None:
    """Check every embedding of a folder of another program.

    If this takes over a second, the verdict is kept in `$RECOSEG_CACHE/verdicts` for as long as
    the sizes and modification times of the files do not change.

    Args:
        root: The folder.
        paths: Files of its embeddings.
        arrays: Their embeddings.

    Raises:
        ArchiveError: Rows are not finite or not L2-normalised.
    """
    stamps = {path.name: local_stamp(path.stat()) for path in paths}
    name = hashlib.blake2b(str(root.resolve()).encode("utf-8", "replace"), digest_size=8)
    verdict = cache_folder("verdicts") / f"{name.hexdigest()}.json"
    if _is_remembered(verdict, stamps):
        return
    started = time.perf_counter()
    for path, rows in zip(paths, arrays, strict=True):
        wrong = wrong_rows(rows)
        if wrong:
            length = float(np.linalg.norm(np.asarray(rows[wrong[0]], np.float32)))
            raise ArchiveError(
                f"{path} has {count_of(len(wrong), 'rows')} of another length than 1; row "
                f"{wrong[0]:,} is of "
                f"length {length:.3g}. Expected L2-normalised embeddings: divide each row by its "
                "length and save the array again."
            )
    if time.perf_counter() - started > _REMEMBERED_AFTER:
        _remember(verdict, stamps)


def _is_remembered(verdict: Path, stamps: dict[str, str]) -> bool:
    try:
        return read_sealed(verdict, _VERDICT_BYTES)[0] == stamps
    except FileError:
        return False


def _remember(verdict: Path, stamps: dict[str, str]) -> None:
    try:
        write_bytes(verdict, sealed(stamps))
    except OSError:  # the values are then checked each time
        return
