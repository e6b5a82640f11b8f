"""Reading and decoding photos in threads, ahead of the model."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

from jaxtyping import UInt8
from torch import Tensor

from recoseg.archive.layout import Failure, Record
from recoseg.archive.reading import UnreadableError, read_bytes
from recoseg.archive.refs import PhotoRef
from recoseg.encoders.base import Frame
from recoseg.errors import BadImageError
from recoseg.images import decode_image, to_frame

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class Loaded:
    """A usable photo: its record, and its pixels in the encoder's frame."""

    record: Record
    pixels: UInt8[Tensor, "3 size size"]


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[T], R], items: Iterable[T], depth: int
) -> Iterator[R]:
    """`map` over the pool, in order, with at most `depth` results waiting."""
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) >= depth:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def load_photo(photo: PhotoRef, frame: Frame) -> Loaded | Failure:
    """Read, decode and scale one photo."""
    if photo.problem:
        return Failure(photo.path, photo.problem, photo.stamp)
    try:
        data = read_bytes(photo.path, offset=photo.offset, size=photo.size)
        image = decode_image(data)
        pixels = to_frame(image, frame)
    except UnreadableError as error:
        return Failure(photo.path, str(error))
    except BadImageError as error:
        return Failure(photo.path, str(error), photo.stamp)
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    record = Record(
        photo.path, image.width, image.height, len(data), photo.stamp, digest, photo.offset
    )
    return Loaded(record, pixels)
