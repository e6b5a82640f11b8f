"""Patch features of retrieved photos, each photo once however many classes share it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from recoseg.archive.loading import ahead
from recoseg.archive.store import ArchiveIndex
from recoseg.encoders.base import DenseImageEncoder, DenseTextEncoder
from recoseg.errors import BadImageError
from recoseg.images import center_crop, resize_short_side, to_tensor
from recoseg.progress import StageProgress

_BATCH = 16


class PatchStore:
    """Features of phi and text cosines of archive photos, in fp16 files that are memory-mapped.

    Every photo is decoded and passed through each encoder once, at the same size; of the saliency
    encoder only the cosines with the given words are kept. Memory stays bounded by one batch,
    whatever the number of classes; the files go when the store is closed.

    Args:
        index: The archive.
        phi: The dense image encoder.
        saliency: The dense text encoder; None where no guidance is wanted.
        words: Text embeddings of all words of all classes.
        image_size: Short side and centre crop, pixels.
    """

    def __init__(
        self,
        index: ArchiveIndex,
        phi: DenseImageEncoder,
        saliency: DenseTextEncoder | None,
        words: Float[Tensor, "m d"],
        image_size: int,
    ) -> None:
        self._index = index
        self._phi = phi
        self._saliency = saliency
        self._words = words
        self._size = image_size
        self._folder = tempfile.TemporaryDirectory(prefix="recoseg-")
        self._rows: dict[str, int] = {}
        self._features: np.memmap | None = None
        self._cosines: np.memmap | None = None
        self.failures: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._features = self._cosines = None
        self._folder.cleanup()

    def fill(self, positions: Sequence[int], *, progress: bool | None = False) -> None:
        """Compute the features of these photos, once; those that cannot be read become failures.

        Args:
            positions: Of the photos in the archive, without repetition.
            progress: See `StageProgress`.
        """
        self._capacity = len(positions)
        with (
            StageProgress("Co-segmenting: features", len(positions), enabled=progress) as bar,
            ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool,
        ):
            names: list[str] = []
            photos: list[Tensor] = []
            for position, loaded in zip(
                positions, ahead(pool, self._load, positions, 3 * _BATCH), strict=True
            ):
                if isinstance(loaded, str):
                    self.failures[self._index.path(position)] = loaded
                    bar.advance(failed=1)
                    continue
                names.append(self._index.photo_id(position))
                photos.append(loaded)
                if len(photos) == _BATCH:
                    self._encode(names, photos)
                    bar.advance(len(photos))
                    names, photos = [], []
            if photos:
                self._encode(names, photos)
                bar.advance(len(photos))

    def __contains__(self, photo_id: object) -> bool:
        return photo_id in self._rows

    def features(self, photo_ids: Sequence[str]) -> Float[Tensor, "k C h w"]:
        """Features of phi, fp16 on the CPU."""
        assert self._features is not None
        return torch.from_numpy(self._features[[self._rows[name] for name in photo_ids]])

    def text_cosines(self, photo_ids: Sequence[str], words: slice) -> Float[Tensor, "k m gh gw"]:
        """Cosine of every patch of the saliency encoder with some of the words, fp32."""
        assert self._cosines is not None
        rows = [self._rows[name] for name in photo_ids]
        return torch.from_numpy(self._cosines[rows][:, words]).float()

    def _load(self, position: int) -> UInt8[Tensor, "3 size size"] | str:
        try:
            return crop_for_learning(self._index, position, self._size)
        except BadImageError as error:
            return str(error)

    def _encode(self, names: list[str], photos: list[Tensor]) -> None:
        batch = torch.stack(photos)
        features = self._phi.features(batch).half().cpu().numpy()
        if self._features is None:
            self._features = self._create("features", features.shape[1:])
        cosines = None
        if self._saliency is not None:
            patches = F.normalize(self._saliency.features(batch), dim=1)
            words = self._words.to(patches.device)
            cosines = torch.einsum("ndhw,md->nmhw", patches, words).half().cpu().numpy()
            if self._cosines is None:
                self._cosines = self._create("cosines", cosines.shape[1:])
        for place, name in enumerate(names):
            row = self._rows.setdefault(name, len(self._rows))  # equal content: one row
            self._features[row] = features[place]
            if cosines is not None and self._cosines is not None:
                self._cosines[row] = cosines[place]

    def _create(self, name: str, shape: Sequence[int]) -> np.memmap:
        path = Path(self._folder.name) / name
        return np.memmap(path, np.float16, "w+", shape=(self._capacity, *shape))


def crop_for_learning(
    index: ArchiveIndex, position: int, image_size: int
) -> UInt8[Tensor, "3 size size"]:
    """A retrieved photo as the encoders see it: short side to `image_size`, centre crop.

    Raises:
        BadImageError: It cannot be read.
    """
    image = resize_short_side(index.read(position), image_size)
    return to_tensor(center_crop(image, image_size))
