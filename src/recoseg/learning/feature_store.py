"""Patch features of retrieved photos, computed once per photo however many classes share it."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Self, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from recoseg.archive.index import ArchiveIndex
from recoseg.cores import usable_cores
from recoseg.encoders.extract import DenseEncoder
from recoseg.encoders.protocols import DenseTextEncoder
from recoseg.errors import EncoderMismatchError, OutputError, RecosegError
from recoseg.executors import LocalExecutor, TaskFailed, ahead
from recoseg.learning.feature_cache import FeatureCache
from recoseg.learning.feature_worker import (
    Extraction,
    FeatureIdentity,
    FeatureRequest,
    FeatureTask,
    FeatureWorker,
    PhotoFeatures,
)
from recoseg.progress import StageProgress

_BATCH = 16


@dataclass(frozen=True)
class _Row:
    """A photo that has a row in the files but whose features are not complete yet.

    Attributes:
        number: Row of the photo in the files.
        request: Request for the missing features.
    """

    number: int
    request: FeatureRequest


class FeatureStore:
    """Patch features of archive photos, in temporary fp16 files that are memory-mapped.

    Every photo is decoded once and passed through each encoder once, at the same size, however
    many classes and banks retrieve it. Memory is bounded by the batches in progress: two for each
    worker and a few that wait to be written. The files grow with the number of photos and are
    deleted when the store is closed. One thread of this process writes the files and the cache,
    wherever the photos are encoded.

    Args:
        encoders: The dense encoders whose features are stored.
        image_size: Side of the centre crop, to which the short side is resized; pixels.
        cache: Cache that keeps features after the store is closed. It is not used for photos of
            archives that record no content hash.
        extraction: Workers that encode, with the same encoders. By default `encoders` are used in
            this process.

    Attributes:
        image_size: Side of the centre crop, pixels.
        failures: Reason for each photo that could not be used, by path.
    """

    def __init__(
        self,
        encoders: Sequence[DenseEncoder],
        image_size: int,
        cache: FeatureCache | None = None,
        extraction: Extraction | None = None,
    ) -> None:
        self.image_size = image_size
        self._cache = cache
        self.failures: dict[str, str] = {}
        self._encoders = {encoder.info.key: encoder.info for encoder in encoders}
        self._extraction = extraction or Extraction(
            partial(FeatureWorker, encoders), LocalExecutor()
        )
        self._rows: dict[str, int] = {}
        self._files: dict[str, _RowFile] = {}
        self._taken = 0  # rows of the files, including those of photos that could not be used

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def holds(self, encoder: DenseEncoder) -> bool:
        """Whether the store keeps features of this encoder."""
        return encoder.info.key in self._encoders

    def fill(
        self, index: ArchiveIndex, positions: Sequence[int], *, progress: bool | None = False
    ) -> None:
        """Compute the features of photos that are not in the store yet.

        Args:
            index: The archive; photos of equal content in several archives count as one photo.
            positions: Positions of the photos in the archive. Photos that cannot be read, or whose
                task failed, are recorded in `failures`.
            progress: See `StageProgress`.

        Raises:
            EncoderMismatchError: The workers have other encoders.
            RecosegError: The workers compute in another precision than that of the cache.
        """
        missing: dict[str, int] = {}  # one position for photos of equal content
        for position in positions:
            photo_id = index.photo_id(position)
            if photo_id not in self._rows and index.path(position) not in self.failures:
                missing.setdefault(photo_id, position)
        with StageProgress("Co-segmenting: features", len(missing), enabled=progress) as bar:
            rows = []
            for row in self._from_cache(index, missing):
                if len(row.request.known) < len(self._encoders):
                    rows.append(row)
                else:
                    self._rows[row.request.photo.id] = row.number
                    bar.advance()
            if rows:
                self._extract(rows, bar)

    def __contains__(self, photo_id: object) -> bool:
        return photo_id in self._rows

    def features(self, encoder: DenseEncoder, photo_ids: Sequence[str]) -> Float[Tensor, "k C h w"]:
        """Features of photos in the store from one of its encoders, fp16 on the CPU."""
        rows = [self._rows[name] for name in photo_ids]
        return torch.from_numpy(self._files[encoder.info.key].read(rows))

    def text_cosines(
        self,
        encoder: DenseTextEncoder,
        photo_ids: Sequence[str],
        words: Float[Tensor, "m d"],
    ) -> Float[Tensor, "k m gh gw"]:
        """Cosine of every patch with text embeddings, fp32.

        Args:
            encoder: The saliency encoder.
            photo_ids: Ids of the photos.
            words: Text embeddings, rows L2-normalised.
        """
        patches = F.normalize(self.features(encoder, photo_ids).float(), dim=1)
        return torch.einsum("kdhw,md->kmhw", patches, words)

    def _from_cache(self, index: ArchiveIndex, missing: dict[str, int]) -> Iterator[_Row]:
        """Assign a row to each photo and write its cached features there."""
        first, self._taken = self._taken, self._taken + len(missing)
        with ThreadPoolExecutor(min(16, usable_cores())) as pool:
            looked_up = ahead(pool, partial(self._look_up, index), missing.values(), 3 * _BATCH)
            for number, position in enumerate(missing.values(), first):
                cached = next(looked_up)
                self._write(number, cached)
                request = FeatureRequest(index.photo(position), frozenset(cached))
                yield _Row(number, request)

    def _look_up(self, index: ArchiveIndex, position: int) -> dict[str, np.ndarray]:
        recorded = index.photo(position).hash
        if self._cache is None or not recorded:
            return {}
        found = {
            key: self._cache.get(info, self.image_size, recorded)
            for key, info in self._encoders.items()
        }
        return {key: features for key, features in found.items() if features is not None}

    def _extract(self, rows: Sequence[_Row], bar: StageProgress) -> None:
        batches = [rows[at : at + _BATCH] for at in range(0, len(rows), _BATCH)]
        keys = tuple(self._encoders)
        tasks = (
            FeatureTask(tuple(row.request for row in batch), keys, self.image_size)
            for batch in batches
        )
        with self._extraction.executor.team(self._extraction.build) as team:
            self._check(cast(FeatureIdentity, team.identity))
            for batch, found in zip(batches, team.run(tasks, bar.advance), strict=True):
                if isinstance(found, TaskFailed):
                    bar.advance(len(batch), failed=len(batch))
                    paths = (row.request.photo.path for row in batch)
                    self.failures |= dict.fromkeys(paths, found.reason)
                    continue
                for row, computed in zip(batch, found, strict=True):
                    self._keep(row, computed)

    def _check(self, made_by: FeatureIdentity) -> None:
        """Refuse workers that have other encoders or another precision than the store expects."""
        theirs = {info.key for info in made_by.encoders}
        for key, info in self._encoders.items():
            if key not in theirs:
                found = ", ".join(
                    f"{other.name} ({other.fingerprint})" for other in made_by.encoders
                )
                raise EncoderMismatchError(
                    f"The workers have the dense encoders {found or 'none'}. Expected {info.name} "
                    f"({info.fingerprint}) among them: use the same names and weights."
                )
        expected = self._cache.precision if self._cache is not None else made_by.precision
        if made_by.precision not in (None, expected):
            raise RecosegError(
                f"Expected workers that compute in {expected}, as the cache does; got "
                f"{made_by.precision}. Set the precision by --precision."
            )

    def _keep(self, row: _Row, computed: PhotoFeatures) -> None:
        photo = row.request.photo
        if computed.photo.failure:
            self.failures[photo.path] = computed.photo.failure
            return
        self._write(row.number, computed.features)
        self._rows[photo.id] = row.number
        if self._cache is not None and photo.hash:
            for key, features in computed.features.items():
                content = computed.photo.hash
                self._cache.put(self._encoders[key], self.image_size, content, features)

    def _write(self, row: int, features: dict[str, np.ndarray]) -> None:
        for key, array in features.items():
            if key not in self._files:
                self._files[key] = _RowFile(array.shape)
            self._files[key].write(row, array)


class _RowFile:
    """Arrays of one shape as fp16, by number, in a temporary file without a name.

    The system removes the file when the process ends, however that ends. It is written by calls,
    since a write to a mapped file on a full disk would end the process.

    Args:
        shape: Shape of each array.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        self._file = tempfile.TemporaryFile(prefix="recoseg-")  # noqa: SIM115  # until `close`
        self._shape = tuple(shape)
        self._bytes = 2 * math.prod(shape)
        self._mapped: np.ndarray = np.empty((0, *shape), np.float16)

    def write(self, row: int, array: np.ndarray) -> None:
        """Store an array under a number.

        Raises:
            OutputError: The disk is full or cannot be written to.
        """
        try:
            self._file.seek(row * self._bytes)
            self._file.write(np.ascontiguousarray(array, np.float16).data)
            self._file.flush()
        except OSError as error:
            raise OutputError(
                f"Features cannot be stored in {tempfile.gettempdir()}: {error.strerror or error}. "
                "Set TMPDIR to a folder with more room."
            ) from error

    def read(self, rows: Sequence[int]) -> np.ndarray:
        """The arrays that were stored under these numbers, copied."""
        if rows and max(rows) >= len(self._mapped):
            count = self._file.seek(0, os.SEEK_END) // self._bytes
            self._mapped = np.memmap(self._file, np.float16, "r", shape=(count, *self._shape))
        return np.asarray(self._mapped[list(rows)])

    def close(self) -> None:
        """Remove the file."""
        self._mapped = np.empty((0, *self._shape), np.float16)
        self._file.close()
