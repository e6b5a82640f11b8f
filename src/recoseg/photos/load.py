"""Loading photos from any input: reading, hashing, decoding and scaling, each done once."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from recoseg.errors import BadImageError, RecosegError
from recoseg.photos.frame import Frame
from recoseg.photos.images import (
    decode_for,
    decode_image,
    input_size,
    resize_short_side,
    to_tensor,
    upright_rgb,
)
from recoseg.photos.opening import MissingDecoderError
from recoseg.photos.reading import UnreadableError, read_photo
from recoseg.photos.refs import Photo
from recoseg.storage.checksums import checksum

PhotoInput = str | os.PathLike[str] | bytes | Image.Image | np.ndarray | Tensor | Photo
"""A photo as users can pass it: a path, URL or `shard.tar::member`; the bytes of a file; a PIL
image; a uint8 array (h, w, 3) or a uint8 tensor (3, h, w), both RGB; or a `Photo`."""


CheckSize = Callable[[tuple[int, int], tuple[int, int]], None]
"""Raises BadImageError for a photo that needs too much memory, by the width and height of the photo
and of the encoders' input."""


Resize = Callable[[Image.Image, int], Image.Image]
"""Scales an image to a short side, pixels; 0 keeps its size."""


class Part(NamedTuple):
    """Where the part of a photo that is labelled lies.

    Attributes:
        size: Height and width of all that the encoders see, at the photo's own size, pixels.
        rows: The rows of the part within that.
        columns: The columns of the part within that.
    """

    size: tuple[int, int]
    rows: slice
    columns: slice


@dataclass(frozen=True, eq=False)
class LoadedPhoto:
    """A decoded photo, ready for the encoders.

    Attributes:
        photo: The photo with its width and height, and with its hash if bytes were read.
        pixels: Input of the encoders: RGB, 0 to 255, not normalised.
        image: The whole photo, or the part that is labelled, upright, RGB; None if only the input
            was decoded.
        part: Where that part lies; None for the whole photo.
    """

    photo: Photo
    pixels: UInt8[Tensor, "3 h w"]
    image: Image.Image | None = None
    part: Part | None = None


def load_frame(photo: Photo, frame: Frame) -> LoadedPhoto | Photo:
    """Read a photo and decode it directly at the input size of an encoder; see `decode_for`.

    Args:
        photo: The photo.
        frame: Input size and resizing of the encoder.

    Returns:
        The loaded photo without its image, or the photo with the reason why it cannot be used.
    """
    if photo.failure:
        return photo
    try:
        data = read_photo(photo)
        pixels, size = decode_for(data, frame)
    except (BadImageError, MemoryError) as error:
        return _failed(photo, error)
    return LoadedPhoto(_known(photo, data, size), pixels)


def load_whole(
    given: PhotoInput, short_side: int, check: CheckSize | None = None
) -> LoadedPhoto | Photo:
    """Decode a whole photo and scale it for the encoders.

    The same picture has the same pixels whichever way it is passed: upright, 8 bits, with
    transparent parts on white; see `decode_image`.

    Args:
        given: The photo.
        short_side: Short side of the encoders' input, pixels; 0 keeps the size of the photo.
        check: Called before the photo is decoded if it is a file, and before it is scaled.

    Returns:
        The loaded photo, or the photo with the reason why it cannot be used.

    Raises:
        RecosegError: The input is not one of the types of `PhotoInput`.
    """
    photo = as_photo(given)
    if photo.failure:
        return photo

    def first(size: tuple[int, int]) -> None:
        if check is not None:
            check(size, input_size(size, short_side))

    try:
        if isinstance(given, Image.Image):
            image = upright_rgb(given)
        elif isinstance(given, np.ndarray | Tensor):
            image = Image.fromarray(_checked_pixels(given))
        else:
            data = given if isinstance(given, bytes) else read_photo(photo)
            image = decode_image(data, first)
            photo = _known(photo, data, image.size)
    except (BadImageError, MemoryError) as error:
        return _failed(photo, error)
    return scaled(replace(photo, width=image.width, height=image.height), image, short_side, check)


def scaled(
    photo: Photo,
    image: Image.Image,
    short_side: int,
    check: CheckSize | None = None,
    resize: Resize = resize_short_side,
) -> LoadedPhoto | Photo:
    """Scale a decoded photo for the encoders.

    Args:
        photo: The photo.
        image: Its decoded image, upright, RGB; it may have been cropped or resized.
        short_side: Short side of the encoders' input, pixels; 0 keeps the size of the image.
        check: Called before the image is scaled.
        resize: How it is scaled.

    Returns:
        The loaded photo, or the photo with the reason why it cannot be used.
    """
    try:
        if check is not None:
            check(image.size, input_size(image.size, short_side))
        return LoadedPhoto(photo, to_tensor(resize(image, short_side)), image)
    except (BadImageError, MemoryError) as error:
        return _failed(photo, error)


def as_photo(given: Any) -> Photo:
    """The `Photo` of an input; if the input is bytes or pixels, its path is empty.

    Raises:
        RecosegError: The input is not one of the types of `PhotoInput`.
    """
    if isinstance(given, Photo):
        return given
    if isinstance(given, bytes | Image.Image | np.ndarray | Tensor):
        return Photo("")
    if isinstance(given, str | os.PathLike):
        return Photo(os.fspath(given))
    raise RecosegError(
        f"A {type(given).__name__} is not a photo. Expected a path or URL, the bytes of a file, a "
        "PIL image, a uint8 array (h, w, 3) or a uint8 tensor (3, h, w)."
    )


def check_iterable(given: object) -> None:
    """Refuse what is not an iterable of photos, such as a number or an open file.

    Raises:
        RecosegError: It is neither a photo nor an iterable of photos.
    """
    if not isinstance(given, Iterable) or hasattr(given, "read"):
        as_photo(given)


def _known(photo: Photo, data: bytes, size: tuple[int, int]) -> Photo:
    """The photo with the size, hash, width and height found when it was read."""
    return replace(photo, size=len(data), hash=checksum(data), width=size[0], height=size[1])


def _failed(photo: Photo, error: BadImageError | MemoryError) -> Photo:
    if isinstance(error, MemoryError):
        return photo.failed("too large for this machine's memory", retry=True)
    return photo.failed(str(error), retry=isinstance(error, UnreadableError | MissingDecoderError))


def _checked_pixels(given: np.ndarray | Tensor) -> np.ndarray:
    """The pixels as an array (h, w, 3).

    Raises:
        BadImageError: The pixels are not uint8 RGB.
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
