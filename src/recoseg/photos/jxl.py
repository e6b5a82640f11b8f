"""The size of a JPEG XL photo, whose decoder decodes all pixels when it opens the file."""

from __future__ import annotations

from recoseg.photos.kinds import JXL_STARTS

_STREAM, _CONTAINER = JXL_STARTS
_WHOLE, _PART = b"jxlc", b"jxlp"  # boxes that hold the stream, or a part of it after 4 bytes
_LENGTHS = (9, 13, 18, 30)  # bits of a side, chosen by two bits
_RATIOS = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))  # width to height


def jxl_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that a file of JPEG XL states, before it is turned; None for other files."""
    if data.startswith(_CONTAINER):
        data = _stream(data)
    if not data.startswith(_STREAM):
        return None
    bits = _Bits(data[2:18])
    small = bits.take(1)
    height = _side(bits, small)
    ratio = bits.take(3)
    if ratio == 0:
        return _side(bits, small), height
    across, down = _RATIOS[ratio - 1]
    return height * across // down, height


def _side(bits: _Bits, small: int) -> int:
    return 8 * (1 + bits.take(5)) if small else 1 + bits.take(_LENGTHS[bits.take(2)])


def _stream(data: bytes) -> bytes:
    """The beginning of the stream in a container; empty where there is none."""
    at = 0
    while at + 8 <= len(data):
        length, kind, head = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8], 8
        if length == 1:
            length, head = int.from_bytes(data[at + 8 : at + 16], "big"), 16
        if kind in (_WHOLE, _PART):
            start = at + head + (4 if kind == _PART else 0)
            return data[start : start + 18]
        if length < head:  # the last box, or a damaged one
            break
        at += length
    return b""


class _Bits:
    """Bits from the lowest of the first byte on."""

    def __init__(self, data: bytes) -> None:
        self._number = int.from_bytes(data, "little")

    def take(self, count: int) -> int:
        value = self._number & ((1 << count) - 1)
        self._number >>= count
        return value
