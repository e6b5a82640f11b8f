"""Patch features of photos, computed where the workers of an executor run. It keeps nothing."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from recoseg.archive.index import Photo
from recoseg.device import resolve_compute
from recoseg.encoders.encoder_table import build_phi, build_saliency
from recoseg.encoders.protocols import DenseImageEncoder, DenseTextEncoder, EncoderInfo
from recoseg.errors import BadImageError
from recoseg.executors import Advance, Executor, Worker
from recoseg.photos.images import center_crop, decode_image, resize_short_side, to_tensor
from recoseg.photos.reading import read_bytes

DenseEncoder = DenseImageEncoder | DenseTextEncoder
EncoderKey = tuple[str, str, int, int]
"""Name, fingerprint, dimension and stride: what tells encoders of one run apart."""


@dataclass(frozen=True)
class Wanted:
    """A photo whose features are wanted.

    Attributes:
        path: A local path, a URL, or `shard.tar::member`.
        offset: Where a member's bytes start in its shard; -1 where not known or no member.
        size: Bytes of a member; -1 likewise.
        recorded: Hash of its bytes when it was indexed; empty where the archive records none.
        known: Encoders whose features of that content are at hand.
    """

    path: str
    offset: int
    size: int
    recorded: str
    known: frozenset[EncoderKey] = frozenset()

    @classmethod
    def of(cls, photo: Photo, known: frozenset[EncoderKey] = frozenset()) -> Wanted:
        """A photo of an index."""
        offset, size = photo.offset, photo.bytes
        if offset is None or offset < 0 or size is None:
            offset, size = -1, -1
        return cls(photo.path, offset, size, photo.hash or "", known)


@dataclass(frozen=True)
class PatchTask:
    """Photos to be encoded together.

    Attributes:
        photos: The photos.
        encoders: Whose features are wanted.
        image_size: Short side and centre crop, pixels.
    """

    photos: tuple[Wanted, ...]
    encoders: tuple[EncoderKey, ...]
    image_size: int


@dataclass(frozen=True)
class Patches:
    """What was computed of one photo.

    Attributes:
        content: Hash of the bytes that were decoded, as archives record it: the photo may have
            changed since it was indexed. Empty where the archive records none.
        features: By encoder (C, gh, gw) float16; all encoders of the task but those known for
            this very content.
    """

    content: str
    features: dict[EncoderKey, np.ndarray]


@dataclass(frozen=True)
class PatchIdentity:
    """What decides features beside the photo.

    Attributes:
        encoders: The dense encoders, with their fingerprints.
        precision: Of their forward passes; None where the worker was not told.
    """

    encoders: tuple[EncoderInfo, ...]
    precision: str | None


@dataclass(frozen=True)
class Extraction:
    """Where features are computed.

    Attributes:
        build: Makes a worker, such as a `PatchWorker`, whose identity is a `PatchIdentity`.
        executor: Where workers run.
    """

    build: Callable[[], Worker[PatchTask, list[Patches | str]]]
    executor: Executor


class PatchWorker:
    """Encodes the photos of one task after another (a `Worker` of an executor).

    Photos are read, decoded and cropped in threads. Two tasks may be done at once: while one has
    the encoders, the photos of the other are decoded.

    Args:
        encoders: The dense encoders.
        precision: Of their forward passes.
        threads: Threads that read and decode; by default one per processor, at most 16.
    """

    def __init__(
        self,
        encoders: Sequence[DenseEncoder],
        precision: str | None = None,
        threads: int | None = None,
    ) -> None:
        self._encoders = {encoder_key(encoder.info): encoder for encoder in encoders}
        self._model = threading.Lock()
        self._pool = ThreadPoolExecutor(threads or min(16, os.cpu_count() or 1))
        self.identity = PatchIdentity(tuple(encoder.info for encoder in encoders), precision)

    def __call__(self, task: PatchTask, advance: Advance) -> list[Patches | str]:
        """For each photo its features, or why it cannot be used."""
        outcomes = list(self._pool.map(lambda photo: _load(photo, task.image_size), task.photos))
        loaded = [item for item in outcomes if isinstance(item, _Loaded)]
        found = [Patches(photo.content, {}) for photo in loaded]
        with self._model:
            computed = self._encode(loaded, task.encoders)
        for key, lacking, features in computed:
            for at, row in zip(lacking, features.cpu().numpy(), strict=True):
                found[at].features[key] = row
        advance(len(outcomes), failed=len(outcomes) - len(loaded))
        patches = iter(found)
        return [item if isinstance(item, str) else next(patches) for item in outcomes]

    @torch.inference_mode()
    def _encode(
        self, photos: Sequence[_Loaded], encoders: Sequence[EncoderKey]
    ) -> list[tuple[EncoderKey, tuple[int, ...], Float[Tensor, "m c gh gw"]]]:
        """For each encoder the places of the photos that it lacks, and their features in fp16."""
        # Encoders that lack the same photos get one and the same batch, so that those of one
        # backbone can share its pass.
        batches: dict[tuple[int, ...], UInt8[Tensor, "m 3 size size"]] = {}
        computed = []
        for key in encoders:
            lacking = tuple(at for at, photo in enumerate(photos) if key not in photo.known)
            if not lacking:
                continue
            if lacking not in batches:
                batches[lacking] = torch.stack([photos[at].pixels for at in lacking])
            features = self._encoders[key].features(batches[lacking])
            computed.append((key, lacking, features.half()))
        return computed


@dataclass(frozen=True)
class _Loaded:
    """A photo that can be encoded: its crop, the hash of its bytes, and what is known of them."""

    pixels: UInt8[Tensor, "3 size size"]
    content: str
    known: frozenset[EncoderKey]


def _load(photo: Wanted, image_size: int) -> _Loaded | str:
    try:
        data = read_bytes(photo.path, offset=photo.offset, size=photo.size)
        pixels = crop(decode_image(data), image_size)
    except BadImageError as error:
        return str(error)
    content = hashlib.blake2b(data, digest_size=16).hexdigest() if photo.recorded else ""
    return _Loaded(pixels, content, photo.known if content == photo.recorded else frozenset())


def encoder_key(info: EncoderInfo) -> EncoderKey:
    """What tells encoders apart; two of the same weights may still give different features."""
    return info.name, info.fingerprint, info.dim, info.stride


def crop(image: Image.Image, image_size: int) -> UInt8[Tensor, "3 size size"]:
    """A photo as dense encoders see it: short side to `image_size` pixels, centre crop."""
    return to_tensor(center_crop(resize_short_side(image, image_size), image_size))


def dense_worker(
    phi: str,
    saliency: str | None,
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> PatchWorker:
    """A worker with encoders of the table, built where it is called.

    Args:
        phi: The dense image encoder, NAME or NAME=WEIGHTS.
        saliency: The saliency encoder likewise; None where there is no guidance.
        device: See `resolve_compute`.
        precision: See `resolve_compute`.
        threads: Threads that read and decode; by default one per processor, at most 16.

    Raises:
        UnknownNameError: No such encoder.
        MissingWeightsError: Its weights cannot be had.
    """
    compute = resolve_compute(device, precision)
    encoders: list[DenseEncoder] = [build_phi(phi, compute)]
    if saliency is not None:
        encoders.append(build_saliency(saliency, compute))
    return PatchWorker(encoders, compute.precision, threads)
