"""Reading, decoding and scaling one photo."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from jaxtyping import UInt8
from torch import Tensor

from recoseg.archive.layout import Failure, Record
from recoseg.encoders.protocols import Frame
from recoseg.errors import BadImageError
from recoseg.photos.images import decode_for
from recoseg.photos.reading import UnreadableError, read_bytes
from recoseg.photos.refs import PhotoRef


@dataclass(frozen=True)
class Loaded:
    """A usable photo: its record, and its pixels in the encoder's frame."""

    record: Record
    pixels: UInt8[Tensor, "3 size size"]


def load_photo(photo: PhotoRef, frame: Frame) -> Loaded | Failure:
    """Read, decode and scale one photo."""
    if photo.problem:
        return Failure(photo.path, photo.problem, photo.stamp)
    try:
        data = read_bytes(photo.path, offset=photo.offset, size=photo.size)
        pixels, (width, height) = decode_for(data, frame)
    except UnreadableError as error:
        return Failure(photo.path, str(error))
    except BadImageError as error:
        return Failure(photo.path, str(error), photo.stamp)
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    record = Record(photo.path, width, height, len(data), photo.stamp, digest, photo.offset)
    return Loaded(record, pixels)
