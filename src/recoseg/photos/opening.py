"""Opening images within bounds: which formats, and how many bytes and pixels."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from recoseg.errors import BadImageError
from recoseg.photos import files
from recoseg.photos.jxl import jxl_size
from recoseg.photos.kinds import missing_decoder, unread_kind
from recoseg.photos.png import without_texts
from recoseg.photos.raw import raw_preview
from recoseg.storage.reading import open_regular, why

MAX_PIXELS = 178_956_970
"""Photos with more pixels are refused before they are decoded (half a gigabyte as RGB)."""

FORMATS = (
    "JPEG",
    "PNG",
    "WEBP",
    "GIF",
    "TIFF",
    "BMP",
    "DIB",
    "PPM",
    "AVIF",
    "JPEG2000",
    "MPO",
    "HEIF",  # only with the extra `heif`
    "JXL",  # only with the extra `jxl`
)
"""The formats of photos, as Pillow calls them."""

ORIENTATION_TAG = 0x0112
"""The EXIF tag of how a photo is to be turned."""


class TooManyPixelsError(BadImageError):
    """A photo with more pixels than are taken."""


class MissingDecoderError(BadImageError):
    """A photo of a format that can be read once a decoder is installed."""


# `check_size` enforces the limit at which Pillow itself raises an error.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


@contextmanager
def open_image(
    source: Path | bytes | BinaryIO,
    formats: Sequence[str] = FORMATS,
    most: int | None = None,
) -> Iterator[Image.Image]:
    """Open an image of known formats; its pixels are not decoded yet, and not too many.

    Args:
        source: A local file, its bytes, or an open binary file.
        formats: Names of the formats, as Pillow calls them.
        most: The largest number of pixels; by default, and at most, `MAX_PIXELS`.

    Raises:
        BadImageError: It cannot be read, is empty, or is not a photo.
        TooManyPixelsError: It has too many pixels.
        MissingDecoderError: It is of a format that an extra reads.
        Exception: It is damaged, or of none of the given formats; decoders raise errors of many
            types.
    """
    data = _read(source)
    if not data:
        raise BadImageError("the file is empty")
    _check_early(data, most)
    _register()
    known = [name for name in formats if name in Image.OPEN]
    preview = raw_preview(data) if formats is FORMATS else None
    try:
        content = io.BytesIO(preview[0] if preview else without_texts(data))
        opened = Image.open(content, formats=known)
    except UnidentifiedImageError as error:
        if formats is not FORMATS:
            raise
        missing = missing_decoder(data)
        if missing:
            raise MissingDecoderError(missing) from error
        raise BadImageError(unread_kind(data)) from error
    with opened as image:
        check_size(*image.size, most)
        if preview:  # the preview itself has no tags
            image.getexif()[ORIENTATION_TAG] = preview[1]
        yield image


@cache
def _register() -> None:
    """Register the decoders of Pillow, and those of HEIC and JPEG XL if they are installed."""
    Image.init()
    with suppress(ImportError):
        from pillow_heif import register_heif_opener

        register_heif_opener()
    with suppress(ImportError):
        import pillow_jxl  # noqa: F401, it registers itself


def _read(source: Path | bytes | BinaryIO) -> bytes:
    if isinstance(source, bytes):
        return source
    try:
        if isinstance(source, Path):
            with open_regular(source) as file:
                data = file.read(files.MAX_BYTES + 1)
        else:
            data = source.read(files.MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        raise BadImageError(f"cannot be read: {why(error)}") from error
    if len(data) > files.MAX_BYTES:
        raise BadImageError(f"more than {files.MAX_BYTES:,} bytes")
    return data


def _check_early(data: bytes, most: int | None) -> None:
    """Check the size of images whose pixels are allocated or decoded when they are opened."""
    size = jxl_size(data)
    if size is not None:
        check_size(*size, most)
    if data[:4] == b"RIFF" and data[8:16] == b"WEBPVP8X" and len(data) >= 30:
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (24, 27))
        check_size(width, height, most)


def check_size(width: int, height: int, most: int | None = None) -> None:
    """Check the size of an image before its pixels are decoded.

    Args:
        width: Its width.
        height: Its height.
        most: The largest number of pixels; by default, and at most, `MAX_PIXELS`.

    Raises:
        BadImageError: It has no pixels.
        TooManyPixelsError: It has more than `most`.
    """
    if width < 1 or height < 1:
        raise BadImageError(f"has no pixels: {width} x {height}")
    limit = MAX_PIXELS if most is None else min(most, MAX_PIXELS)
    if width * height > limit:
        raise TooManyPixelsError(f"more than {limit:,} pixels: {width} x {height}")
