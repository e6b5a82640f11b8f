"""Workers that compute patch features of photos, in this process or elsewhere."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.cores import usable_cores
from recoseg.device import resolve_compute
from recoseg.encoders.encoder_table import build_phi, build_saliency
from recoseg.encoders.extract import DenseEncoder, extract
from recoseg.encoders.protocols import EncoderInfo
from recoseg.executors import Advance, Executor, Worker
from recoseg.photos.frame import Frame
from recoseg.photos.load import LoadedPhoto, load_frame
from recoseg.photos.refs import Photo


@dataclass(frozen=True)
class FeatureRequest:
    """A photo whose features are to be computed.

    Attributes:
        photo: The photo as recorded in the index.
        known: Keys of the encoders whose features of this content are known already.
    """

    photo: Photo
    known: frozenset[str] = frozenset()


@dataclass(frozen=True)
class FeatureTask:
    """Photos that are encoded together.

    Attributes:
        requests: The photos.
        encoders: Keys of the encoders whose features are requested.
        image_size: Side of the centre crop, to which the short side is resized; pixels.
    """

    requests: tuple[FeatureRequest, ...]
    encoders: tuple[str, ...]
    image_size: int


@dataclass(frozen=True)
class PhotoFeatures:
    """The computed features of one photo.

    Attributes:
        photo: The photo as it was read. It may have changed since it was indexed, so its hash is
            that of the decoded bytes. It has a failure if it cannot be used.
        features: Features (C, gh, gw), float16, by encoder key: for all encoders of the task
            except those whose features of this content were known.
    """

    photo: Photo
    features: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class FeatureIdentity:
    """What the features depend on besides the photo.

    Attributes:
        encoders: The dense encoders, with their fingerprints.
        precision: Precision of their forward passes; None if the worker was not given one.
    """

    encoders: tuple[EncoderInfo, ...]
    precision: str | None


@dataclass(frozen=True)
class Extraction:
    """How and where features are computed.

    Attributes:
        build: Builds a worker, such as a `FeatureWorker`, whose identity is a `FeatureIdentity`.
        executor: Executor that runs the workers.
    """

    build: Callable[[], Worker[FeatureTask, list[PhotoFeatures]]]
    executor: Executor


class FeatureWorker:
    """Encodes the photos of one task after another (a `Worker` of an executor).

    Photos are read, decoded and cropped in threads. Two tasks may run at once: while one uses the
    encoders, the photos of the other are decoded.

    Args:
        encoders: The dense encoders.
        precision: Precision of their forward passes.
        threads: Threads that read and decode photos. By default one per processor, at most 16.
    """

    def __init__(
        self,
        encoders: Sequence[DenseEncoder],
        precision: str | None = None,
        threads: int | None = None,
    ) -> None:
        self._encoders = list(encoders)
        self._model = threading.Lock()
        self._pool = ThreadPoolExecutor(threads or min(16, usable_cores()))
        self.identity = FeatureIdentity(tuple(encoder.info for encoder in encoders), precision)

    def __call__(self, task: FeatureTask, advance: Advance) -> list[PhotoFeatures]:
        """Compute the features of the photos of a task.

        Args:
            task: The photos and the encoders.
            advance: Progress callback.

        Returns:
            The features of each photo, in order.
        """
        frame = Frame(task.image_size)
        loaded = list(
            self._pool.map(lambda request: load_frame(request.photo, frame), task.requests)
        )
        usable = [
            (item, request.known if item.photo.hash == request.photo.hash else frozenset())
            for item, request in zip(loaded, task.requests, strict=True)
            if isinstance(item, LoadedPhoto)
        ]
        found = [PhotoFeatures(item.photo) for item, _ in usable]
        with self._model:
            computed = self._encode(usable, task.encoders)
        for key, lacking, features in computed:
            for at, row in zip(lacking, features.cpu().numpy(), strict=True):
                found[at].features[key] = row
        advance(len(loaded), failed=len(loaded) - len(usable))
        features_of = iter(found)
        return [
            PhotoFeatures(item) if isinstance(item, Photo) else next(features_of) for item in loaded
        ]

    def _encode(
        self, photos: Sequence[tuple[LoadedPhoto, frozenset[str]]], requested: Sequence[str]
    ) -> list[tuple[str, tuple[int, ...], Float[Tensor, "m c gh gw"]]]:
        """For each encoder, the positions of the photos to encode and their features in fp16."""
        # Encoders that lack the same photos share one batch.
        lacking: dict[tuple[int, ...], list[str]] = {}
        for key in requested:
            positions = tuple(at for at, (_, known) in enumerate(photos) if key not in known)
            if positions:
                lacking.setdefault(positions, []).append(key)
        computed = []
        for positions, keys in lacking.items():
            batch = torch.stack([photos[at][0].pixels for at in positions])
            for key, features in extract(self._encoders, batch, keys).items():
                computed.append((key, positions, features.half()))
        return computed


def dense_worker(
    phi: str | EncoderInfo | Sequence[str | EncoderInfo],
    saliency: str | EncoderInfo | None,
    *,
    device: str = "auto",
    precision: str = "auto",
    threads: int | None = None,
) -> FeatureWorker:
    """Build a worker with encoders of the encoder table, in the process that calls this function.

    Args:
        phi: The dense image encoder, or several: `NAME` or `NAME=WEIGHTS`, or the `EncoderInfo`
            that a bank has recorded.
        saliency: The dense text encoder, in the same form; None if there is no guidance.
        device: See `resolve_compute`.
        precision: See `resolve_compute`.
        threads: Threads that read and decode photos. By default one per processor, at most 16.

    Raises:
        UnknownNameError: There is no such encoder.
        MissingWeightsError: Its weights are not available.
    """
    compute = resolve_compute(device, precision)
    specs = [phi] if isinstance(phi, str | EncoderInfo) else phi
    encoders: list[DenseEncoder] = [build_phi(spec, compute) for spec in specs]
    if saliency is not None:
        encoders.append(build_saliency(saliency, compute, encoders[0].info))
    return FeatureWorker(encoders, compute.precision, threads)
