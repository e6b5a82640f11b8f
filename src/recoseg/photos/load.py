"""Loading photos in any form: read, decode, hash and scale them, each step once."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from recoseg.errors import BadImageError
from recoseg.photos.frame import Frame
from recoseg.photos.images import (
    decode_for,
    decode_image,
    resize_short_side,
    to_tensor,
    upright_rgb,
)
from recoseg.photos.reading import UnreadableError, read_photo
from recoseg.photos.refs import Photo

PhotoInput = str | os.PathLike[str] | bytes | Image.Image | np.ndarray | Tensor | Photo
"""What a photo can be given as: a path, URL or `shard.tar::member`; the bytes of a file; a PIL
image; a uint8 array (h, w, 3); a uint8 tensor (3, h, w); or a `Photo`."""


@dataclass(frozen=True, eq=False)
class LoadedPhoto:
    """A decoded photo as encoders take it.

    Attributes:
        photo: The photo, with its width and height, and with its hash where bytes were read.
        pixels: The encoders' input, RGB, 0 to 255.
        image: The whole photo, upright RGB; None where only the encoders' input was decoded.
    """

    photo: Photo
    pixels: UInt8[Tensor, "3 h w"]
    image: Image.Image | None = None


def load_frame(photo: Photo, frame: Frame) -> LoadedPhoto | Photo:
    """Decode a photo straight into an encoder's frame; see `decode_for`.

    Returns:
        The loaded photo without its image, or the photo with the reason why it cannot be used.
    """
    if photo.failure:
        return photo
    try:
        data = read_photo(photo)
        pixels, size = decode_for(data, frame)
    except BadImageError as error:
        return _failed(photo, error)
    return LoadedPhoto(_known(photo, data, size), pixels)


def load_whole(given: PhotoInput, short_side: int) -> LoadedPhoto | Photo:
    """Decode a whole photo and scale it for the encoders.

    Every way to give the same picture gives the same pixels: upright, on white where it is
    transparent, 8 bits; see `decode_image`.

    Args:
        given: The photo.
        short_side: Short side of the encoders' input, pixels; 0 for the photo's own size.

    Returns:
        The loaded photo, or the photo with the reason why it cannot be used.
    """
    photo = as_photo(given)
    if photo.failure:
        return photo
    try:
        if isinstance(given, Image.Image):
            image = upright_rgb(given)
        elif isinstance(given, np.ndarray | Tensor):
            image = Image.fromarray(_checked_pixels(given))
        else:
            data = given if isinstance(given, bytes) else read_photo(photo)
            image = decode_image(data)
            photo = _known(photo, data, image.size)
    except BadImageError as error:
        return _failed(photo, error)
    return scaled(replace(photo, width=image.width, height=image.height), image, short_side)


def scaled(photo: Photo, image: Image.Image, short_side: int) -> LoadedPhoto | Photo:
    """Scale a decoded photo for the encoders.

    Args:
        photo: The photo.
        image: Its image, upright RGB; it may have been cropped or resized.
        short_side: Short side of the encoders' input, pixels; 0 for the image's own size.

    Returns:
        The loaded photo, or the photo with the reason why it cannot be used.
    """
    try:
        resized = resize_short_side(image, short_side) if short_side else image
    except BadImageError as error:
        return _failed(photo, error)
    return LoadedPhoto(photo, to_tensor(resized), image)


def as_photo(given: Any) -> Photo:
    """The photo that an input is about; one given as bytes or pixels has no path.

    Raises:
        TypeError: It is none of the ways to give a photo; see `PhotoInput`.
    """
    if isinstance(given, Photo):
        return given
    if isinstance(given, bytes | Image.Image | np.ndarray | Tensor):
        return Photo("")
    if isinstance(given, str | os.PathLike):
        return Photo(os.fspath(given))
    raise TypeError(
        f"A {type(given).__name__} is not a photo. Expected a path or URL, the bytes of a file, a "
        "PIL image, a uint8 array (h, w, 3) or a uint8 tensor (3, h, w)."
    )


def content_hash(data: bytes) -> str:
    """32 hex digits that name the content of a file: BLAKE2b."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _known(photo: Photo, data: bytes, size: tuple[int, int]) -> Photo:
    """The photo with what reading it has told."""
    return replace(photo, size=len(data), hash=content_hash(data), width=size[0], height=size[1])


def _failed(photo: Photo, error: BadImageError) -> Photo:
    return photo.failed(str(error), retry=isinstance(error, UnreadableError))


def _checked_pixels(given: np.ndarray | Tensor) -> np.ndarray:
    """Pixels as an array (h, w, 3).

    Raises:
        BadImageError: They are not uint8 RGB.
    """
    shape, dtype = tuple(given.shape), str(given.dtype).removeprefix("torch.")
    if isinstance(given, Tensor):
        fits, expected = len(shape) == 3 and shape[0] == 3, "tensor (3, h, w)"
    else:
        fits, expected = len(shape) == 3 and shape[2] == 3, "array (h, w, 3)"
    if not fits or dtype != "uint8" or 0 in shape:
        raise BadImageError(f"expected a uint8 {expected}; got {shape} of {dtype}")
    if isinstance(given, Tensor):
        return torch.permute(given, (1, 2, 0)).cpu().numpy()
    return given
