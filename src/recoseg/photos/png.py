"""PNG files without the texts and colour profiles that no photo needs to be decoded."""

from __future__ import annotations

import zlib

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_PROFILE = b"iCCP"
_ORIENTATION = (b"Raw profile type exif", b"XML:com.adobe.xmp")
"""Texts that may hold the orientation."""

_MOST_TEXT = 1 << 20
"""Size up to which such a text is kept, bytes."""


def without_texts(data: bytes) -> bytes:
    """A PNG file without texts and colour profile, which may unpack to any size.

    Pillow refuses sound photos for large ones, such as the projects that editors keep there.
    Nothing else changes; other files and damaged ones are returned as they are.
    """
    if not data.startswith(_SIGNATURE):
        return data
    kept, start, at = [], 0, len(_SIGNATURE)
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        kind, end = data[at + 4 : at + 8], at + 12 + length
        if kind == _PROFILE or (kind in _TEXTS and not _is_needed(kind, data[at + 8 : end - 4])):
            kept.append(data[start:at])
            start = end
        at = end
    return b"".join([*kept, data[start:]]) if kept else data


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
