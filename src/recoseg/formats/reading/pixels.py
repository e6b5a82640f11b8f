"""From polygons and run lengths to pixels."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Bool

from recoseg.formats.reading.masks import Placed

_FARTHEST = 1 << 20  # pixels from the photo's corner


def fill(points: Any) -> Placed:
    """The pixels whose centre lies within a polygon, by the even-odd rule.

    Args:
        points: (n, 2) x, y of the corners, pixels from the top left corner of the photo.

    Raises:
        ValueError: There are fewer than three corners, or they are far outside of any photo.

    Example:
        >>> mask, left, top = fill([(1, 0), (3, 0), (3, 1), (1, 1)])
        >>> mask.tolist(), left, top
        ([[True, True]], 1, 0)
    """
    ring = np.asarray(points, float)
    if ring.ndim != 2 or ring.shape[0] < 3 or ring.shape[1] != 2:
        raise ValueError(f"a polygon of shape {ring.shape}, expected three or more corners x, y")
    if not (np.abs(ring) < _FARTHEST).all():
        raise ValueError("a polygon leaves the photo by more than a million pixels")
    low, high = np.floor(ring.min(0)).astype(int), np.ceil(ring.max(0)).astype(int)
    width, height = np.maximum(high - low, 1).tolist()
    start = ring - low - 0.5  # centres of pixels are whole numbers now
    stop = np.roll(start, -1, axis=0)
    upper, lower = np.minimum(start[:, 1], stop[:, 1]), np.maximum(start[:, 1], stop[:, 1])
    first, last = np.ceil(upper).astype(int), np.ceil(lower).astype(int)
    counts = last - first
    side = np.repeat(np.arange(len(ring)), counts)
    rows = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[side]
    (x0, y0), (x1, y1) = start[side].T, stop[side].T
    columns = np.ceil(x0 + (rows - y0) * (x1 - x0) / (y1 - y0)).astype(int)
    crossings = np.zeros((height, width + 1), np.int32)
    np.add.at(crossings, (rows, np.clip(columns, 0, width)), 1)
    return np.cumsum(crossings, axis=1)[:, :width] % 2 == 1, int(low[0]), int(low[1])


def from_runs(lengths: Sequence[int], height: int, width: int) -> Bool[np.ndarray, "height width"]:
    """The pixels of lengths of 0s and 1s in turn, row by row, 0s first.

    Raises:
        ValueError: The lengths do not add up to the number of pixels.
    """
    counts = np.asarray(lengths, np.int64)
    if (counts < 0).any() or counts.sum() != height * width:
        raise ValueError(f"run lengths that do not add up to {height} x {width} pixels")
    return np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)


def coco_lengths(text: str) -> list[int]:
    """The lengths in COCO's compressed text: 5 bits a letter, differences to the last but one.

    Raises:
        ValueError: The text ends within a number, or holds other letters.
    """
    lengths: list[int] = []
    value = shift = 0
    for code in (ord(letter) - 48 for letter in text):
        if not 0 <= code < 64 or shift > 40:
            raise ValueError("letters that are none of COCO's run lengths")
        value |= (code & 31) << shift
        shift += 5
        if code & 32:
            continue
        if code & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value = shift = 0
    if shift:
        raise ValueError("COCO's run lengths are cut off")
    return lengths


def from_brush(numbers: Sequence[int], height: int, width: int) -> Bool[np.ndarray, "h w"]:
    """The pixels of Label Studio's run lengths whose alpha is not 0; see `encode_brush`.

    Raises:
        ValueError: They are damaged, or those of a mask of another size.
    """
    bits = "".join(f"{number:08b}" for number in bytes(numbers))
    total, word = int(bits[:32], 2), int(bits[32:37], 2) + 1
    if total != height * width * 4:
        raise ValueError(f"a brush of {total // 4} pixels, where {height} x {width} are expected")
    sizes = [int(bits[place : place + 4], 2) + 1 for place in range(37, 53, 4)]
    values, lengths, place, done = [], [], 53, 0
    while done < total:
        size = sizes[int(bits[place + 1 : place + 3], 2)]
        count = int(bits[place + 3 : place + 3 + size], 2) + 1
        is_run, place = bits[place] == "1", place + 3 + size
        ends = [place + word * step for step in range(2 if is_run else count + 1)]
        values += [int(bits[start:stop], 2) for start, stop in pairwise(ends)]
        lengths += [count] if is_run else [1] * count
        place, done = ends[-1], done + count
    if done != total:
        raise ValueError("the runs of a brush are longer than its mask")
    return np.repeat(np.array(values) > 0, lengths).reshape(height, width, 4)[..., 3]
