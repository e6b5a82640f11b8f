"""Label Studio's run lengths of brushes: the bits of the library rle-pack for JavaScript."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool

_WORD = 8  # bits of a value
_SIZES = (3, 4, 8, 16)  # bits of a length, by the two bits that stand before it
_LONGEST = 1 << _SIZES[-1]
_CHANNELS = 4  # red, green, blue and alpha of a pixel, all 0 or all 255


def encode_brush(mask: Bool[np.ndarray, "h w"]) -> list[int]:
    """The bytes of a mask as Label Studio stores them.

    The values of all channels are one sequence, which is stored as its number (32 bits), the bits
    of a value less 1 (5), those of the four kinds of lengths less 1 (4 each), and runs: a 1, the
    kind of the length (2), the length less 1, and the value (8). The last byte is filled with 0s.

    Example:
        >>> encode_brush(np.array([[True]]))
        [0, 0, 0, 4, 57, 27, 252, 127, 224]
    """
    values = mask.ravel()
    starts = np.r_[0, np.flatnonzero(values[1:] != values[:-1]) + 1]
    lengths = np.diff(np.r_[starts, values.size]) * _CHANNELS
    pieces = [f"{values.size * _CHANNELS:032b}{_WORD - 1:05b}"]
    pieces += [f"{size - 1:04b}" for size in _SIZES]
    for is_set, length in zip(values[starts].tolist(), lengths.tolist(), strict=True):
        value = "1" * _WORD if is_set else "0" * _WORD
        while length:
            part = min(length, _LONGEST)
            kind = next(kind for kind, size in enumerate(_SIZES) if part <= 1 << size)
            pieces.append(f"1{kind:02b}{part - 1:0{_SIZES[kind]}b}{value}")
            length -= part
    bits = "".join(pieces)
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))
