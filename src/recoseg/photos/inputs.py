"""Photos as they are given, and as the encoders of a segmenter get them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from recoseg.errors import BadImageError
from recoseg.photos.images import decode_image, resize_short_side, to_tensor
from recoseg.photos.reading import read_photo
from recoseg.photos.refs import Photo as PhotoRef

Photo = str | Path | Image.Image | np.ndarray
"""A path, URL or `shard.tar::member`; a PIL image; or an array (h, w, 3) of uint8 RGB."""


@dataclass(frozen=True)
class Ready:
    """A decoded photo and the encoders' input."""

    image: Image.Image
    pixels: UInt8[Tensor, "3 h w"]


def prepare(photo: Photo, short_side: int) -> Ready:
    """Decode a photo and bring it to the encoders' input.

    Args:
        photo: The photo.
        short_side: Of the input, pixels; 0 for the photo's own size.

    Raises:
        BadImageError: It cannot be decoded, or is no image.
    """
    if isinstance(photo, np.ndarray):
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != np.uint8 or not photo.size:
            raise BadImageError(
                f"expected an array (h, w, 3) of uint8; got {photo.shape} of {photo.dtype}"
            )
        image = Image.fromarray(photo)
    elif isinstance(photo, Image.Image):
        image = photo.convert("RGB")
    else:
        image = decode_image(read_photo(PhotoRef(str(photo))))
    resized = resize_short_side(image, short_side) if short_side else image
    return Ready(image, to_tensor(resized))


def equal_sizes(images: dict[int, Tensor]) -> list[list[int]]:
    """The keys of images of equal size together, in the order in which sizes first appear."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, pixels in images.items():
        groups.setdefault(tuple(pixels.shape), []).append(index)
    return list(groups.values())
