"""TIFF files beyond plain pictures: raw photos, whose preview is used, and unusual bands."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

from recoseg.errors import BadImageError

TIFF_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How TIFF files begin, the last two those of BigTIFF."""

_MOST_DIRECTORIES = 64
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _COLOURS = 256, 257, 258, 259, 262
_OFFSET, _ORIENTATION, _BANDS, _LENGTH, _OTHERS, _KIND = 273, 274, 277, 279, 330, 339
_JPEG_OFFSET, _JPEG_LENGTH, _DNG_VERSION = 513, 514, 50706
_SENSOR = (32803, 34892)  # pixels of a sensor: in its colour filters, or linear
_KINDS = {1: "bits", 2: "bits, signed", 3: "bits, float", 5: "bits, complex", 6: "bits, complex"}

_SMALLEST_PREVIEW = 640
"""A preview counts as the photo if its long side has this many pixels; smaller ones are
thumbnails."""

Directory = Mapping[int, Any]


def is_tiff(data: bytes) -> bool:
    """Whether a file begins as a TIFF."""
    return data.startswith(TIFF_STARTS)


def raw_preview(data: bytes) -> tuple[bytes, int] | None:
    """The largest JPEG preview of a raw photo, and its EXIF orientation; None for other files.

    Raw photos in the form of TIFF, such as DNG, hold the pixels of the sensor, and previews that
    the camera has developed. Pillow would give the first one, often a thumbnail.

    Raises:
        BadImageError: A raw photo has no preview that is large enough.
    """
    if not is_tiff(data):
        return None
    directories = list(_directories(data))
    if not any(_DNG_VERSION in one or _number(one, _COLOURS) in _SENSOR for one in directories):
        return None
    best, most = b"", 0
    for one in directories:
        found = _jpeg(one, data)
        size = _jpeg_size(found)
        if max(size) >= _SMALLEST_PREVIEW and size[0] * size[1] > most:
            best, most = found, size[0] * size[1]
    if not best:
        raise BadImageError(
            "a raw photo without a preview in JPEG that is large enough; export it as JPEG or PNG"
        )
    return best, _number(directories[0], _ORIENTATION) or 1


def tiff_kind(data: bytes) -> str:
    """Why Pillow cannot decode a TIFF, as far as its first directory tells; empty if it does not.

    Which of many bands are red, green and blue is not known, so none are guessed.
    """
    for first in _directories(data):
        bands = _number(first, _BANDS) or 1
        bits, kind = _number(first, _BITS) or 1, _number(first, _KIND) or 1
        return (
            f"a TIFF of {bands} {'band' if bands == 1 else 'bands'} of {bits} "
            f"{_KINDS.get(kind, 'bits')}, compression {_number(first, _COMPRESSION) or 1}, "
            "which is not read; expected grey, RGB or RGBA of 8 or 16 bits, or grey of 32; write "
            "the three bands that are red, green and blue, such as by gdal_translate -b 1 -b 2 "
            "-b 3 -ot Byte -scale"
        )
    return ""


def _directories(data: bytes) -> Iterator[Directory]:
    """The directories of a TIFF, each once; those that can be read of a damaged one."""
    head = data[:16] if data[2:3] == b"+" or data[3:4] == b"+" else data[:8]
    file = io.BytesIO(data)
    seen: set[int] = set()
    try:
        pending = [ImageFileDirectory_v2(head).next]
        while pending and len(seen) < _MOST_DIRECTORIES:
            offset = pending.pop(0)
            if offset in seen or not 0 < offset < len(data):
                continue
            seen.add(offset)
            file.seek(offset)
            one = ImageFileDirectory_v2(head)
            one.load(file)
            yield one
            others = one.get(_OTHERS, ())
            pending += [one.next, *(others if isinstance(others, tuple) else (others,))]
    except Exception:  # damaged files make the reader raise errors of many types
        return


def _number(directory: Directory, tag: int) -> int:
    """The first number of a tag; 0 if it is absent or damaged."""
    try:
        value = directory.get(tag, 0)
        return int(value[0] if isinstance(value, tuple) else value)
    except Exception:  # see `_directories`
        return 0


def _jpeg(directory: Directory, data: bytes) -> bytes:
    """The JPEG of a directory whose only strip is one; empty if it is none."""
    if _number(directory, _COLOURS) in _SENSOR:
        return b""
    for offset, length in ((_OFFSET, _LENGTH), (_JPEG_OFFSET, _JPEG_LENGTH)):
        start = _number(directory, offset)
        found = data[start : start + _number(directory, length)] if start > 0 else b""
        if found.startswith(b"\xff\xd8\xff"):
            return found
    return b""


def _jpeg_size(data: bytes) -> tuple[int, int]:
    """Height and width in a JPEG's own header; (0, 0) where there is none that Pillow decodes."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker in (0xC0, 0xC1, 0xC2):
            height, width = (int.from_bytes(data[at + x : at + x + 2], "big") for x in (5, 7))
            return height, width
        at += 2 + length
    return 0, 0
