"""Decoding photos of all common formats to upright 8-bit RGB, and scaling them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from recoseg.errors import BadImageError
from recoseg.photos import opening
from recoseg.photos.frame import Frame
from recoseg.photos.opening import (
    ORIENTATION_TAG,
    MissingDecoderError,
    TooManyPixelsError,
    check_size,
    open_image,
)

MAX_ENLARGED_ASPECT = 100
"""The largest ratio of the sides at which a whole photo is enlarged for the encoders.

A longer one grows out of all proportion: 20,000 x 30 pixels would become 213,333 x 320."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_NO_DECODER = re.compile(r"decoder \w+ not available")  # Pillow's words
_SIDEWAYS = (5, 6, 7, 8)  # orientations that swap height and width
_FILTERS = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "nearest": Image.Resampling.NEAREST,  # label maps, and photos where a protocol says so
}
# The largest ratio of the sides at which the whole photo is scaled before a centre crop. In longer
# photos the ends, which the crop removes anyway, are cut off first, so that a strip of 1 x 100,000
# pixels cannot fill the memory.
_MAX_ASPECT = 32

_DRAFT_MARGIN = 2
"""The sides of a JPEG that is decoded at reduced size stay this many times the frame's."""


def decode_image(
    source: Path | bytes | BinaryIO, check: Callable[[tuple[int, int]], None] | None = None
) -> Image.Image:
    """Decode a photo to upright 8-bit RGB.

    Of an animation and of a file of several pages the first is used, and of a raw photo in the form
    of TIFF, such as DNG, the largest preview. EXIF orientation is applied, transparent images are
    placed on white, and CMYK is converted. Greyscale of more than 8 bits is rescaled: 16-bit images
    from their full range; 32-bit integers and floats from the smallest of the ranges [0, 1] (floats
    only), [0, 255] and [0, 65535] that contains their values, or else from their minimum to their
    maximum.

    Args:
        source: A local file, its bytes, or an open binary file.
        check: Called with width and height before the pixels are decoded; both are swapped if the
            photo lies on its side.

    Returns:
        The image, mode `RGB`.

    Raises:
        BadImageError: The photo cannot be used; the message is the reason.
    """
    return _decode(source, None, check)[0]


def decode_for(
    source: Path | bytes | BinaryIO, frame: Frame
) -> tuple[UInt8[Tensor, "3 size size"], tuple[int, int]]:
    """Decode a photo for an encoder's frame, at reduced size where that is faster.

    A JPEG is decoded at 1/2, 1/4 or 1/8 of its size if both sides stay at least twice as long as
    the frame's, and then scaled as by `to_frame`. The pixels differ slightly from those of a photo
    decoded at full size: by one or two levels of 255 on average.

    Args:
        source: As for `decode_image`.
        frame: The encoder's input.

    Returns:
        RGB, 0 to 255, and the width and height of the whole upright photo.

    Raises:
        BadImageError: The photo cannot be used; the message is the reason.
    """
    image, size = _decode(source, _DRAFT_MARGIN * frame.size)
    return to_frame(image, frame), size


def decode_reduced(
    source: Path | bytes | BinaryIO, short_side: int
) -> tuple[Image.Image, tuple[int, int]]:
    """Decode a photo whole and scale its short side down to a size; it is never enlarged.

    A JPEG is decoded at reduced size where that is faster, as by `decode_for`.

    Args:
        source: As for `decode_image`.
        short_side: Greatest short side of the result, pixels.

    Returns:
        The image, mode `RGB`, and the width and height of the whole upright photo.

    Raises:
        BadImageError: The photo cannot be used; the message is the reason.
    """
    image, size = _decode(source, _DRAFT_MARGIN * short_side)
    return (image if min(image.size) <= short_side else resize_short_side(image, short_side)), size


def upright_rgb(image: Image.Image) -> Image.Image:
    """Convert an opened image to upright 8-bit RGB, as `decode_image` does for its file.

    Raises:
        BadImageError: The image cannot be used; the message is the reason.
    """
    with _reasons():
        return _finish(image, None)[0]


def _decode(
    source: Path | bytes | BinaryIO,
    enough: int | None,
    check: Callable[[tuple[int, int]], None] | None = None,
) -> tuple[Image.Image, tuple[int, int]]:
    """The upright RGB photo, of a JPEG at reduced size (sides >= `enough`), and its full size."""
    with _reasons(), open_image(source) as image:
        if check is not None:
            check(image.size)
        return _finish(image, enough)


def upright_size(source: Path | bytes, most: int | None = None) -> tuple[int, int]:
    """Height and width of a photo as `decode_image` gives it, without decoding its pixels.

    Args:
        source: A local file, or its bytes.
        most: The largest number of pixels; by default `MAX_PIXELS`.

    Raises:
        BadImageError: The file is not an image.
        TooManyPixelsError: It has more pixels.
    """
    with _reasons(), open_image(source, most=most) as image:
        width, height = image.size
        return (width, height) if _orientation(image) in _SIDEWAYS else (height, width)


def _finish(image: Image.Image, enough: int | None) -> tuple[Image.Image, tuple[int, int]]:
    """See `_decode`; the image has been opened already."""
    check_size(*image.size)  # of images that the user has opened
    size = image.size
    if enough is not None:
        image.draft(None, (enough, enough))  # None keeps the mode
    image.load()
    orientation = _orientation(image)
    rgb = _to_rgb(image)
    rgb.info = {}  # an image that is given again must not be turned again
    if orientation not in _UPRIGHT:
        return rgb, size
    return rgb.transpose(_UPRIGHT[orientation]), size[::-1] if orientation in _SIDEWAYS else size


@contextmanager
def _reasons() -> Iterator[None]:
    """Turn every error of a decoder into a `BadImageError` with the reason."""
    try:
        yield
    except BadImageError:
        raise
    except Image.DecompressionBombError as error:
        raise TooManyPixelsError(f"more than {opening.MAX_PIXELS:,} pixels") from error
    except MemoryError as error:
        raise BadImageError("too large for this machine's memory") from error
    except Exception as error:  # damaged files make decoders raise errors of many types
        reason = " ".join(str(error).split()) or type(error).__name__
        if _NO_DECODER.fullmatch(reason):
            raise MissingDecoderError(
                f"this build of Pillow lacks what the photo needs ({reason}): "
                "pip install --force-reinstall pillow"
            ) from error
        raise BadImageError(f"damaged: {reason[:200]}") from error


def to_tensor(image: Image.Image) -> UInt8[Tensor, "3 h w"]:
    """The pixels of an RGB image as a contiguous tensor, 0 to 255.

    NumPy transposes them, because photos are decoded in threads. A torch operation would start a
    team of OpenMP threads in each of these; with more threads than cores, the threads of the models
    no longer wait actively for each other, and small layers take 50 % longer.
    """
    array = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    return torch.from_numpy(np.array(array.transpose(2, 0, 1), order="C"))


def input_size(size: tuple[int, int], short_side: int) -> tuple[int, int]:
    """Width and height of a photo after scaling its short side, keeping the aspect ratio.

    The long side is rounded down, as torchvision's `Resize(size)` does.

    Args:
        size: Width and height of the photo.
        short_side: The new short side, pixels; 0 keeps the size.

    Raises:
        BadImageError: The result would have more than `MAX_PIXELS` pixels, or the photo would be
            enlarged although its sides differ by more than a factor of `MAX_ENLARGED_ASPECT`.
    """
    width, height = size
    short, long = min(size), max(size)
    if short_side in (0, short):
        return size
    scaled = int(short_side * long / short)
    too_long = short_side > short and long > MAX_ENLARGED_ASPECT * short
    if too_long or short_side * scaled > opening.MAX_PIXELS:
        grown = f"{scaled} x {short_side}"
        if long > MAX_ENLARGED_ASPECT * short:
            raise BadImageError(
                f"too long and thin: {width} x {height} pixels would become {grown} for the "
                "encoders; use a smaller --resize (0 keeps the size), or cut it into parts"
            )
        raise BadImageError(
            f"the encoders' input would have {grown} pixels, more than {opening.MAX_PIXELS:,}; use "
            "a smaller --resize (0 keeps the size)"
        )
    return (short_side, scaled) if width <= height else (scaled, short_side)


def resize_short_side(image: Image.Image, size: int, interpolation: str = "bicubic") -> Image.Image:
    """Scale an image so that its short side has `size` pixels; see `input_size`.

    Down-scaling is anti-aliased.

    Raises:
        BadImageError: The result would be too large; see `input_size`.
    """
    new = input_size(image.size, size)
    return image if new == image.size else image.resize(new, _FILTERS[interpolation])


def center_crop(image: Image.Image, size: int) -> Image.Image:
    """The central square with sides of `size` pixels; smaller images are scaled up first."""
    if min(image.size) < size:
        image = resize_short_side(image, size)
    width, height = image.size
    left, top = round((width - size) / 2.0), round((height - size) / 2.0)
    return image.crop((left, top, left + size, top + size))


def to_frame(image: Image.Image, frame: Frame) -> UInt8[Tensor, "3 size size"]:
    """Scale and crop an RGB image for an encoder's frame.

    Args:
        image: An RGB image of any size.
        frame: The encoder's input; see `Frame`.

    Returns:
        RGB, 0 to 255. With `short` and bicubic the pixels equal those of torchvision's `Resize` and
        `CenterCrop` on a PIL image, unless one side is more than 32 times as long as the other.
    """
    size = frame.size
    if frame.resize == "short":
        scaled = resize_short_side(_limit_aspect(image), size, frame.interpolation)
        return to_tensor(center_crop(scaled, size))
    if frame.resize == "squash":
        return to_tensor(image.resize((size, size), _FILTERS[frame.interpolation]))
    ratio = size / max(image.size)
    inner = (max(1, round(image.width * ratio)), max(1, round(image.height * ratio)))
    canvas = Image.new("RGB", (size, size))
    scaled = image.resize(inner, _FILTERS[frame.interpolation])
    canvas.paste(scaled, ((size - inner[0]) // 2, (size - inner[1]) // 2))
    return to_tensor(canvas)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 (upright) where the tags are absent or damaged."""
    if image.format == "JXL" and not getattr(image, "jpeg", False):
        return 1  # the decoder has turned it, unless the file is a JPEG that was packed
    try:
        return int(image.getexif().get(ORIENTATION_TAG, 1))
    except Exception:  # the pixels may be intact although a tag is damaged
        return 1


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_grey_to_bytes(image)).convert("RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", rgba.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, rgba).convert("RGB")
    return image.convert("RGB")


def _grey_to_bytes(image: Image.Image) -> np.ndarray:
    """Scale grey of mode I;16*, I or F to uint8, (h, w)."""
    values = np.asarray(image).astype(np.float32)
    finite = np.isfinite(values)
    if not finite.all():
        values = np.where(finite, values, np.float32(0))
    low, high = float(values.min()), float(values.max())
    sixteen_bit = image.mode.startswith("I;16") or image.format in ("PNG", "PPM")
    if low >= 0 and sixteen_bit and high <= 65535:
        low, high = 0.0, 65535.0
    elif low >= 0 and high <= 65535:
        limits = (1.0, 255.0, 65535.0) if image.mode == "F" else (255.0, 65535.0)
        low, high = 0.0, next(limit for limit in limits if high <= limit)
    scaled = (values - low) * (255.0 / max(high - low, 1e-30))
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def _limit_aspect(image: Image.Image) -> Image.Image:
    width, height = image.size
    longest = _MAX_ASPECT * min(width, height)
    if max(width, height) <= longest:
        return image
    left, top = max(0, (width - longest) // 2), max(0, (height - longest) // 2)
    return image.crop((left, top, left + min(width, longest), top + min(height, longest)))
