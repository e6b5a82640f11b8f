"""The worker that reads and embeds the photos of one shard; it writes no files."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.cores import usable_cores
from recoseg.encoders.protocols import EncoderInfo, ImageTextEncoder
from recoseg.errors import ArchiveError
from recoseg.executors import Advance, ahead
from recoseg.photos.frame import Frame
from recoseg.photos.load import LoadedPhoto, load_frame
from recoseg.photos.refs import Photo


@dataclass(frozen=True)
class Identity:
    """What an embedding depends on besides the photo.

    Attributes:
        encoder: The image-text encoder.
        frame: Its input size and resizing.
        precision: Precision of its forward passes: `fp32`, `bf16` or `fp16`.
    """

    encoder: EncoderInfo
    frame: Frame
    precision: str


@dataclass(frozen=True)
class Embedded:
    """The result of a task: its photos and their embeddings.

    Attributes:
        photos: The photos, with the size and hash found when they were read. Photos that cannot
            be used have a failure.
        rows: Embeddings of the n photos without a failure, in order, (n, d) float16, rows
            L2-normalised.
    """

    photos: tuple[Photo, ...]
    rows: np.ndarray


class ShardWorker:
    """Embeds the photos of one shard after another (a `Worker` of an executor).

    Photos are decoded in threads, two batches ahead. Two shards may be processed at once: while
    one uses the model, batches of the other are decoded or copied to and from the device.

    Args:
        encoder: The image-text encoder.
        precision: Precision of its forward passes: `fp32`, `bf16` or `fp16`.
        batch_size: Photos per forward pass; a batch never spans two shards.
        threads: Threads that read and decode photos. By default one per processor, at most 16.
    """

    def __init__(
        self,
        encoder: ImageTextEncoder,
        precision: str,
        batch_size: int = 64,
        threads: int | None = None,
    ) -> None:
        self._encoder = encoder
        self._batch_size = batch_size
        self._model = threading.Lock()
        self._pool = ThreadPoolExecutor(threads or min(16, usable_cores()))
        self.identity = Identity(encoder.info, encoder.frame, precision)

    def __call__(self, photos: Sequence[Photo], advance: Advance) -> Embedded:
        """Embed photos; photos that cannot be used get a failure.

        Args:
            photos: The photos of a shard.
            advance: Progress callback.

        Raises:
            ArchiveError: The encoder returns embeddings of a wrong shape.
        """
        frame = self._encoder.frame
        items = ahead(
            self._pool, lambda photo: load_frame(photo, frame), photos, 2 * self._batch_size
        )
        done: list[Photo] = []
        parts = [np.empty((0, self._encoder.info.dim), np.float16)]
        while batch := list(islice(items, self._batch_size)):
            loaded = [item for item in batch if isinstance(item, LoadedPhoto)]
            rows = self._embed([item.pixels for item in loaded])
            finite = np.isfinite(rows).all(1)
            parts.append(rows[finite])
            usable = iter(finite)
            found = [_finished(item, usable) for item in batch]
            done += found
            advance(len(batch), failed=sum(bool(photo.failure) for photo in found))
        return Embedded(tuple(done), np.concatenate(parts))

    def _embed(self, pixels: list[UInt8[Tensor, "3 size size"]]) -> Float[np.ndarray, "n d"]:
        """Embeddings as they are stored: float16, rows L2-normalised."""
        info = self._encoder.info
        if not pixels:
            return np.empty((0, info.dim), np.float16)
        stacked = torch.stack(pixels)
        if torch.cuda.is_available():
            stacked = stacked.pin_memory()  # so that the copy to the device is asynchronous
        with torch.inference_mode():
            with self._model:
                found = self._encoder.embed_images(stacked)
            rows = found.float().cpu()
        if rows.shape != (len(pixels), info.dim):
            raise ArchiveError(
                f"{info.name} returned embeddings of shape {tuple(rows.shape)}. Expected "
                f"({len(pixels)}, {info.dim})."
            )
        return (rows / rows.norm(dim=1, keepdim=True)).half().numpy()


def _finished(item: LoadedPhoto | Photo, usable: Iterator[np.bool_]) -> Photo:
    if isinstance(item, Photo):
        return item
    return (
        item.photo if next(usable) else item.photo.failed("the encoder gives no finite embedding")
    )
