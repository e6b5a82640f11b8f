"""Patch features of retrieved photos, each photo once however many classes share it."""

from __future__ import annotations

import hashlib
import math
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from recoseg.archive.reading import read_bytes
from recoseg.archive.store import ArchiveIndex
from recoseg.encoders.base import DenseImageEncoder, DenseTextEncoder
from recoseg.errors import BadImageError
from recoseg.executors import ahead
from recoseg.images import center_crop, decode_image, resize_short_side, to_tensor
from recoseg.learning.cache import FeatureCache
from recoseg.progress import StageProgress

_BATCH = 16

DenseEncoder = DenseImageEncoder | DenseTextEncoder
_Key = tuple[str, str, int, int]


@dataclass(frozen=True)
class _Photo:
    """A photo on its way into the store.

    Attributes:
        name: Its id in the archive.
        pixels: The crop; None where the cache has all of its features.
        content: Hash of the bytes that the pixels were decoded from, as archives record it;
            empty where the archive records none.
        cached: What the cache has, by encoder.
    """

    name: str
    pixels: UInt8[Tensor, "3 size size"] | None
    content: str
    cached: dict[_Key, np.ndarray]


class PatchStore:
    """Patch features of archive photos, in fp16 files that are memory-mapped.

    Every photo is decoded once and passed through each encoder once, at the same size, however
    many classes and banks retrieve it. Memory stays bounded by one batch; the files grow with the
    photos and go when the store is closed.

    Args:
        encoders: The dense encoders whose features are wanted.
        image_size: Short side and centre crop, pixels.
        cache: Where features outlive the store. Photos of archives that record no content hash
            are not looked up there.
    """

    def __init__(
        self,
        encoders: Sequence[DenseEncoder],
        image_size: int,
        cache: FeatureCache | None = None,
    ) -> None:
        self.image_size = image_size
        self._cache = cache
        self.failures: dict[str, str] = {}
        self._encoders = {_key(encoder): encoder for encoder in encoders}
        self._folder = tempfile.TemporaryDirectory(prefix="recoseg-")
        self._rows: dict[str, int] = {}
        self._files: dict[_Key, np.memmap] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._files.clear()
        self._folder.cleanup()

    def holds(self, encoder: DenseEncoder) -> bool:
        """Whether it keeps the features of this encoder."""
        return _key(encoder) in self._encoders

    def fill(
        self, index: ArchiveIndex, positions: Sequence[int], *, progress: bool | None = False
    ) -> None:
        """Compute the features of those of these photos that are not there yet.

        Args:
            index: The archive; photos of equal content in several archives are one photo.
            positions: Of the photos in the archive. Photos that cannot be read become failures.
            progress: See `StageProgress`.
        """
        missing: dict[str, int] = {}  # photos of equal content once
        for position in positions:
            photo_id = index.photo_id(position)
            if photo_id not in self._rows and index.path(position) not in self.failures:
                missing.setdefault(photo_id, position)
        todo = list(missing.values())
        with (
            StageProgress("Co-segmenting: features", len(todo), enabled=progress) as bar,
            ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool,
        ):
            batch: list[_Photo] = []
            loaded = ahead(pool, partial(self._load, index), todo, 3 * _BATCH)
            for position, photo in zip(todo, loaded, strict=True):
                if isinstance(photo, str):
                    self.failures[index.path(position)] = photo
                    bar.advance(failed=1)
                    continue
                batch.append(photo)
                if len(batch) == _BATCH:
                    self._encode(batch)
                    bar.advance(len(batch))
                    batch = []
            if batch:
                self._encode(batch)
                bar.advance(len(batch))

    def __contains__(self, photo_id: object) -> bool:
        return photo_id in self._rows

    def features(self, encoder: DenseEncoder, photo_ids: Sequence[str]) -> Float[Tensor, "k C h w"]:
        """Features of one of the encoders, fp16 on the CPU."""
        rows = [self._rows[name] for name in photo_ids]
        return torch.from_numpy(self._files[_key(encoder)][rows])

    def text_cosines(
        self,
        encoder: DenseTextEncoder,
        photo_ids: Sequence[str],
        words: Float[Tensor, "m d"],
    ) -> Float[Tensor, "k m gh gw"]:
        """Cosine of every patch with words, fp32.

        Args:
            encoder: The saliency encoder.
            photo_ids: The photos.
            words: Text embeddings, rows L2-normalised.
        """
        patches = F.normalize(self.features(encoder, photo_ids).float(), dim=1)
        return torch.einsum("kdhw,md->kmhw", patches, words)

    def _load(self, index: ArchiveIndex, position: int) -> _Photo | str:
        name, recorded = index.photo_id(position), index.photo(position).hash or ""
        cached: dict[_Key, np.ndarray] = {}
        if self._cache is not None and recorded:
            for key, encoder in self._encoders.items():
                found = self._cache.get(encoder.info, self.image_size, recorded)
                if found is not None:
                    cached[key] = found
            if len(cached) == len(self._encoders):
                return _Photo(name, None, recorded, cached)
        try:
            data = _read(index, position)
            pixels = _crop(decode_image(data), self.image_size)
        except BadImageError as error:
            return str(error)
        # The photo may have changed since it was indexed: features go by what they were made of.
        content = hashlib.blake2b(data, digest_size=16).hexdigest() if recorded else ""
        return _Photo(name, pixels, content, cached if content == recorded else {})

    def _encode(self, photos: Sequence[_Photo]) -> None:
        start = len(self._rows)
        # Encoders that lack the same photos get one and the same batch, so that those of one
        # backbone can share its pass.
        batches: dict[tuple[int, ...], Tensor] = {}
        for key, encoder in self._encoders.items():
            new = tuple(place for place, photo in enumerate(photos) if key not in photo.cached)
            rows = {place: p.cached[key] for place, p in enumerate(photos) if key in p.cached}
            if new:
                if new not in batches:
                    pixels = [photos[place].pixels for place in new]
                    batches[new] = torch.stack([p for p in pixels if p is not None])
                computed = encoder.features(batches[new]).half().cpu().numpy()
                rows |= dict(zip(new, computed, strict=True))
            file = self._grown(key, rows[0].shape, start + len(photos))
            for place, features in rows.items():
                file[start + place] = features
                content = photos[place].content
                if self._cache is not None and place in new and content:
                    self._cache.put(encoder.info, self.image_size, content, features)
        self._rows |= {photo.name: start + place for place, photo in enumerate(photos)}

    def _grown(self, key: _Key, shape: Sequence[int], rows: int) -> np.memmap:
        """The file of an encoder with room for this many rows, at least doubled where it grows."""
        file = self._files.get(key)
        if file is None or len(file) < rows:
            path = Path(self._folder.name) / str(list(self._encoders).index(key))
            path.touch()
            capacity = max(rows, 0 if file is None else 2 * len(file))
            os.truncate(path, 2 * capacity * math.prod(shape))  # holes take no space on most disks
            file = np.memmap(path, np.float16, "r+", shape=(capacity, *shape))
            self._files[key] = file
        return file


def _key(encoder: DenseEncoder) -> _Key:
    """What tells encoders apart; two of the same weights may still give different features."""
    return encoder.info.name, encoder.info.fingerprint, encoder.info.dim, encoder.info.stride


def crop_for_learning(
    index: ArchiveIndex, position: int, image_size: int
) -> UInt8[Tensor, "3 size size"]:
    """A retrieved photo as the encoders see it: short side to `image_size`, centre crop.

    Raises:
        BadImageError: It cannot be read.
    """
    return _crop(index.read(position), image_size)


def _crop(image: Image.Image, image_size: int) -> UInt8[Tensor, "3 size size"]:
    return to_tensor(center_crop(resize_short_side(image, image_size), image_size))


def _read(index: ArchiveIndex, position: int) -> bytes:
    photo = index.photo(position)
    if photo.offset is None or photo.offset < 0 or photo.bytes is None:
        return read_bytes(photo.path)
    return read_bytes(photo.path, offset=photo.offset, size=photo.bytes)
