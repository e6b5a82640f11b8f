"""COCO's run lengths, which store a mask column by column as lengths of 0s and 1s in turn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recoseg.errors import FileError

_FIRST = 48  # the character of the value 0
_BITS = 5  # of each character, the lowest first; one more bit tells that another follows
_MORE = 1 << _BITS
_SIGN = 1 << (_BITS - 1)
_LONGEST = 7  # characters of one number, which has up to 32 bits


def run_lengths(counts: Sequence[int] | str, size: tuple[int, int]) -> np.ndarray:
    """The lengths of a mask's runs, of 0s first, along the columns.

    Args:
        counts: The lengths, or COCO's compressed text of them.
        size: Height and width of the mask, pixels.

    Raises:
        FileError: The text is no run lengths, or they do not add up to the mask's pixels.
    """
    runs = _uncompress(counts) if isinstance(counts, str) else _lengths(counts)
    height, width = size
    if (runs < 0).any() or int(runs.sum()) != height * width:
        raise FileError(
            f"Expected run lengths that add up to {height} x {width} = {height * width} pixels; "
            f"got {int(runs.sum())}."
        )
    return runs


def mask_of(runs: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The mask (h, w), bool, of the lengths of its runs.

    Example:
        >>> mask_of(run_lengths([1, 2, 1], (2, 2)), (2, 2)).astype(int).tolist()
        [[0, 1], [1, 0]]
    """
    values = np.zeros(len(runs), bool)
    values[1::2] = True
    return np.repeat(values, runs).reshape(size[1], size[0]).T


def _lengths(counts: Sequence[int]) -> np.ndarray:
    if not all(type(count) is int and 0 <= count < 1 << 32 for count in counts):
        raise FileError("Expected whole numbers of 0 or more as run lengths.")
    return np.array(counts, np.int64)


def _uncompress(text: str) -> np.ndarray:
    """The run lengths of COCO's text.

    Each number takes one or more characters of 5 bits, with a sign. From the fourth number on it
    is the difference to the number before the last.
    """
    codes = np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int64) - _FIRST
    if ((codes < 0) | (codes >= 2 * _MORE)).any() or (len(codes) and codes[-1] & _MORE):
        raise FileError(f"Expected COCO's compressed run lengths, got {text[:40]!r}.")
    is_last = codes & _MORE == 0
    number = np.cumsum(is_last) - is_last  # of the number that each character belongs to
    first = np.flatnonzero(np.r_[True, is_last[:-1]]) if len(codes) else np.zeros(0, np.int64)
    place = np.arange(len(codes)) - first[number]
    if len(codes) and place.max() >= _LONGEST:
        raise FileError(f"Expected COCO's compressed run lengths, got {text[:40]!r}.")
    numbers = np.zeros(len(first), np.int64)
    np.add.at(numbers, number, (codes & (_MORE - 1)) << (_BITS * place))
    ends = np.flatnonzero(is_last)
    negative = codes[ends] & _SIGN != 0
    numbers[negative] -= 1 << (_BITS * (place[ends][negative] + 1))
    # Differences to the number before the last; the first number is no part of any sum.
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
