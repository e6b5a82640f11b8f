"""The worker that reads photos and describes their regions; it writes no files."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.cores import usable_cores
from recoseg.encoders.extract import DenseEncoder, extract
from recoseg.encoders.protocols import DenseImageEncoder, DenseTextEncoder, EncoderInfo
from recoseg.errors import FileError
from recoseg.executors import Advance, ahead
from recoseg.memory.describe import Pooling, shapes, without_small
from recoseg.memory.layout import RegionRows
from recoseg.photos.frame import Frame
from recoseg.photos.load import LoadedPhoto, load_frame
from recoseg.photos.refs import Photo
from recoseg.regions.protocol import NONE, RegionProvider, stamp_of


@dataclass(frozen=True)
class MemoryIdentity:
    """What the description of a region depends on besides the photo.

    Attributes:
        phi: The dense image encoders.
        texts: The dense text encoders.
        provider: Key of what divides photos into regions.
        size: Side of the centre crop, pixels.
        precision: Precision of the encoders' forward passes.
    """

    phi: tuple[EncoderInfo, ...]
    texts: tuple[EncoderInfo, ...]
    provider: str
    size: int
    precision: str


@dataclass(frozen=True)
class Described:
    """The result of a task.

    Attributes:
        rows: The photos that could be used, and their regions.
        failures: The others, each with the reason.
    """

    rows: RegionRows
    failures: tuple[Photo, ...]


class RegionWorker:
    """Describes the regions of the photos of one shard after another (a `Worker` of an executor).

    Photos are read, decoded and cropped in threads, two batches ahead. Two shards may be processed
    at once: while one uses the encoders, the photos of the other are decoded.

    Args:
        phi: The dense image encoders, whose features become keys.
        texts: The dense text encoders, whose features become values.
        provider: Divides photos into regions.
        size: Side of the centre crop, to which the short side is resized; pixels.
        precision: Precision of the encoders' forward passes.
        batch_size: Photos per forward pass; a batch never spans two shards.
        threads: Threads that read and decode photos. By default one per processor, at most 16.
    """

    def __init__(
        self,
        phi: Sequence[DenseImageEncoder],
        texts: Sequence[DenseTextEncoder],
        provider: RegionProvider,
        *,
        size: int = 224,
        precision: str = "fp32",
        batch_size: int = 32,
        threads: int | None = None,
    ) -> None:
        self._encoders: list[DenseEncoder] = [*phi, *texts]
        self._provider = provider
        self._batch_size = batch_size
        self._model = threading.Lock()
        self._pool = ThreadPoolExecutor(threads or min(16, usable_cores()))
        self.identity = MemoryIdentity(
            tuple(encoder.info for encoder in phi),
            tuple(encoder.info for encoder in texts),
            provider.key,
            size,
            precision,
        )

    def __call__(self, photos: Sequence[Photo], advance: Advance) -> Described:
        """Describe the regions of the photos of a shard.

        Args:
            photos: The photos as the index records them.
            advance: Progress callback.
        """
        frame = Frame(self.identity.size)
        items = ahead(self._pool, lambda photo: _load(photo, frame), photos, 2 * self._batch_size)
        asked = iter(photos)
        parts: list[RegionRows] = []
        failures: list[Photo] = []
        while batch := list(islice(items, self._batch_size)):
            wanted = list(islice(asked, len(batch)))
            failed = [item for item in batch if isinstance(item, Photo)]
            usable = [
                (item, photo.id)
                for item, photo in zip(batch, wanted, strict=True)
                if isinstance(item, LoadedPhoto)
            ]
            if usable:
                rows, without = self._describe(*zip(*usable, strict=True))
                rows, broken = _finite(rows)
                parts.append(rows)
                failed += without + broken
            failures += failed
            advance(len(batch), failed=len(failed))
        return Described(_joined(parts, self.identity), tuple(failures))

    def _describe(
        self, loaded: Sequence[LoadedPhoto], ids: Sequence[str]
    ) -> tuple[RegionRows, list[Photo]]:
        """The regions of photos, and the photos whose stored regions cannot be read."""
        identity = self.identity
        batch = torch.stack([item.pixels for item in loaded])
        if torch.cuda.is_available():
            batch = batch.pin_memory()  # so that the copy to the device is asynchronous
        # Before the regions are read, so that a later change of theirs is noticed.
        stamps = tuple(stamp_of(self._provider, item.photo) for item in loaded)
        with torch.inference_mode():
            with self._model:
                features = extract(self._encoders, batch)
            of_phi = [features[info.key] for info in identity.phi]
            labels: list[Tensor] = []
            failed: dict[int, Photo] = {}
            for at, (item, pixels) in enumerate(zip(loaded, batch, strict=True)):
                try:
                    of_photo = self._regions_of(item.photo, pixels, [maps[at] for maps in of_phi])
                except FileError as error:
                    failed[at] = item.photo.failed(str(error))
                    of_photo = torch.full(of_phi[0].shape[2:], NONE, dtype=torch.int32)
                labels.append(of_photo)
            pool = Pooling(labels, identity.size)
            keys = [pool(features[info.key], info.stride) for info in identity.phi]
            values = [pool(features[info.key], info.stride) for info in identity.texts]
            areas, boxes = zip(*map(shapes, labels), strict=True)
            rows = RegionRows(
                tuple(item.photo for item in loaded),
                tuple(ids),
                np.array([len(one) for one in areas]),
                (torch.cat(keys, 1) / len(keys) ** 0.5).half().cpu().numpy(),
                torch.cat(values, 1).half().cpu().numpy(),
                torch.cat(areas).numpy(),
                torch.cat(boxes).numpy(),
                stamps,
            )
        kept = np.array([at not in failed for at in range(len(loaded))])
        return rows.only(kept) if failed else rows, list(failed.values())

    def _regions_of(
        self,
        photo: Photo,
        pixels: UInt8[Tensor, "3 h w"],
        features: Sequence[Float[Tensor, "_ gh gw"]],
    ) -> Tensor:
        """The regions of a photo that are large enough, (rh, rw)."""
        given = features if self._provider.needs_features else ()
        labels = self._provider.regions(photo, pixels, given).cpu()
        return without_small(labels, features[0].shape[1] * features[0].shape[2])


def _load(photo: Photo, frame: Frame) -> LoadedPhoto | Photo:
    """Load a photo; refuse one that is no longer the photo that the index describes."""
    loaded = load_frame(photo, frame)
    if isinstance(loaded, LoadedPhoto) and photo.hash and loaded.photo.hash != photo.hash:
        return photo.failed("has changed since it was indexed; update the index")
    return loaded


def _finite(rows: RegionRows) -> tuple[RegionRows, list[Photo]]:
    """The photos whose regions all have finite keys and values, and the others as failures."""
    good = np.isfinite(rows.keys).all(1) & np.isfinite(rows.values).all(1)
    owner = np.repeat(np.arange(len(rows.photos)), rows.counts)
    kept = np.bincount(owner[~good], minlength=len(rows.photos)) == 0
    if kept.all():
        return rows, []
    broken = [
        photo.failed("the encoders give features that are not finite")
        for photo, keep in zip(rows.photos, kept, strict=True)
        if not keep
    ]
    return rows.only(kept), broken


def _joined(parts: Sequence[RegionRows], identity: MemoryIdentity) -> RegionRows:
    if parts:
        return RegionRows(
            tuple(photo for part in parts for photo in part.photos),
            tuple(name for part in parts for name in part.ids),
            np.concatenate([part.counts for part in parts]),
            np.concatenate([part.keys for part in parts]),
            np.concatenate([part.values for part in parts]),
            np.concatenate([part.areas for part in parts]),
            np.concatenate([part.boxes for part in parts]),
            tuple(stamp for part in parts for stamp in part.stamps),
        )
    keys, values = (sum(info.dim for info in infos) for infos in (identity.phi, identity.texts))
    return RegionRows(
        (),
        (),
        np.zeros(0, np.int64),
        np.zeros((0, keys), np.float16),
        np.zeros((0, values), np.float16),
        np.zeros(0, np.float32),
        np.zeros((0, 4), np.float32),
    )
