"""PNG files without the texts, profiles, later frames and damaged metadata that no photo needs."""

from __future__ import annotations

import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_NEEDLESS = (b"iCCP", b"acTL", b"fcTL", b"fdAT")
"""Colour profiles, and the frames of an animation after the first one."""

_ORIENTATION = (b"Raw profile type exif", b"XML:com.adobe.xmp")
"""Texts that may hold the orientation."""

_SIZES = {b"pHYs": 9, b"gAMA": 4, b"cHRM": 32, b"sRGB": 1}
"""Sizes of metadata without which Pillow refuses a file, bytes."""

_MOST_TEXT = 1 << 20
"""Size up to which such a text is kept, bytes."""


def without_texts(data: bytes) -> bytes:
    """A PNG file without texts, colour profile and later frames, which may unpack to any size.

    Pillow refuses sound photos for large ones, such as the projects that editors keep there, and
    for damaged metadata, which is left out as well; what decides the pixels is kept, whatever it
    is. Nothing else changes; other files are returned as they are.
    """
    if not data.startswith(_SIGNATURE):
        return data
    kept, start, at = [], 0, len(_SIGNATURE)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if end <= len(data) and not _is_kept(kind, memoryview(data)[at + 4 : end]):
            kept.append(data[start:at])
            start = end
        at = end
    return b"".join([*kept, data[start:]]) if kept else data


def _is_kept(kind: bytes, chunk: memoryview) -> bool:
    """Whether a chunk stays, of which kind, body and checksum are given."""
    is_of_pixels = not kind[0] & 0x20 or kind == b"tRNS"  # capitals stand for what is critical
    if is_of_pixels:
        return True
    if kind in _NEEDLESS or len(chunk) - 8 != _SIZES.get(kind, len(chunk) - 8):
        return False
    if kind in _TEXTS and not _is_needed(kind, bytes(chunk[4:-4])):
        return False
    return zlib.crc32(chunk[:-4]) == int.from_bytes(chunk[-4:], "big")


def _is_needed(kind: bytes, body: bytes) -> bool:
    keyword, _, rest = body.partition(b"\0")
    if keyword not in _ORIENTATION or len(rest) > _MOST_TEXT:
        return False
    if kind == b"iTXt":
        packed = rest[:1] == b"\1"
        rest = rest[2:].split(b"\0", 2)[-1]  # after the flag, the method and two words
    else:
        packed = kind == b"zTXt"
        rest = rest[1:]
    if not packed:
        return True
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(rest, _MOST_TEXT)
    except zlib.error:
        return False
    return not unpacker.unconsumed_tail
