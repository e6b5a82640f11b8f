"""From the pixels of a mask file to labels: one lookup table for each way of storing masks."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recoseg.errors import BadImageError
from recoseg.labels import IGNORE_INDEX
from recoseg.photos.opening import open_image
from recoseg.photos.stored import stored_values

_FORMATS = ("PNG", "BMP", "TIFF")


@dataclass(frozen=True, eq=False)
class MaskCode:
    """What the values of a mask's pixels mean.

    Attributes:
        table: (256,) uint8, the label of each value; 255 for pixels that are not scored.
        known: (256,) bool, which values may occur.
        channel: The channel of the values in masks of several channels; None for masks of one.
    """

    table: np.ndarray
    known: np.ndarray
    channel: int | None = None


def mask_code(
    labels: Mapping[int, int],
    *,
    ignored: Iterable[int] = (IGNORE_INDEX,),
    others: int | None = None,
    channel: int | None = None,
) -> MaskCode:
    """A mask code from the labels of single values.

    Args:
        labels: The label of each value.
        ignored: Values without a label; their pixels are not scored.
        others: The label of all other values; None makes them an error.
        channel: See `MaskCode`.

    Example:
        >>> code = mask_code({1: 0, 2: 1}, ignored=(0, 255))
        >>> code.table[:3].tolist(), code.known[:4].tolist()
        ([255, 0, 1], [True, True, True, False])
    """
    table = np.full(256, IGNORE_INDEX if others is None else others, np.uint8)
    known = np.full(256, others is not None)
    for value in ignored:
        table[value], known[value] = IGNORE_INDEX, True
    for value, label in labels.items():
        table[value], known[value] = label, True
    return MaskCode(table, known, channel)


def counted(classes: int, *, start: int = 0, channel: int | None = None) -> MaskCode:
    """Values `start`, `start` + 1, ... are labels 0, 1, ...; lower values and 255 are ignored.

    Example:
        >>> counted(2, start=1).table[:3].tolist()
        [255, 0, 1]
    """
    labels = {start + label: label for label in range(classes)}
    return mask_code(labels, ignored=(*range(start), IGNORE_INDEX), channel=channel)


def decode_values(source: Path | bytes, channel: int | None = None) -> np.ndarray:
    """The values of a mask file, see `stored_values`; of a palette the indices, not the colours.

    Args:
        source: A PNG, BMP or TIFF file, or its bytes.
        channel: The channel to take; None expects one channel, or several that are equal.

    Returns:
        (h, w) integers or truth values.

    Raises:
        BadImageError: It is not such a file, or its channels or numbers are not as expected.
    """
    try:
        with open_image(source, _FORMATS) as image:
            values = stored_values(image)
    except BadImageError as error:
        raise BadImageError(f"its mask: {error}") from error
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise BadImageError(
            "its mask is not a PNG, BMP or TIFF file, or is damaged; other formats do not keep "
            "labels exact"
        ) from error
    return one_channel(values, channel)


def one_channel(values: np.ndarray, channel: int | None = None) -> np.ndarray:
    """Take the channel with the labels; see `decode_values`.

    Args:
        values: (h, w) or (h, w, c).
        channel: The channel to take, or None.

    Raises:
        BadImageError: There is no such channel, there are several and none is chosen, or the
            numbers are not integers.
    """
    _check_integers(values)
    if values.ndim == 2 and channel is None:
        return values
    if values.ndim == 3 and channel is not None and channel < values.shape[2]:
        return values[..., channel]
    if values.ndim == 3 and channel is None and (values[..., :3] == values[..., :1]).all():
        return values[..., 0]
    if channel is None:
        raise BadImageError(
            f"its mask has an array of shape {values.shape}, where one number per pixel is "
            "expected; convert coloured masks to class indices"
        )
    raise BadImageError(
        f"its mask has an array of shape {values.shape}, where the labels are expected in "
        f"channel {channel} of a colour picture"
    )


def to_labels(values: np.ndarray, code: MaskCode, size: tuple[int, int]) -> np.ndarray:
    """Look up the label of each value.

    Args:
        values: (h, w) integers.
        code: What the values mean.
        size: Height and width of the photo.

    Returns:
        (h, w) uint8 labels.

    Raises:
        BadImageError: The mask is not of the photo's size, or a value has no label.

    Example:
        >>> to_labels(np.array([[0, 1, 255]]), counted(1, start=1), (1, 3)).tolist()
        [[255, 0, 255]]
    """
    if values.shape != size:
        is_turned = values.shape == size[::-1]
        turned = ". Is the photo turned by its EXIF tag, and the mask not?" if is_turned else ""
        raise BadImageError(
            f"its mask is {values.shape[0]} x {values.shape[1]} pixels (height x width), "
            f"the photo {size[0]} x {size[1]}{turned}"
        )
    if values.dtype == bool:
        values = values.astype(np.uint8)
    _check_integers(values)
    if values.dtype == np.uint8:
        counts = np.bincount(values.ravel(), minlength=256)
        wrong = np.flatnonzero((counts > 0) & ~code.known)
    else:
        found = np.unique(values)
        inside = (found >= 0) & (found < 256)
        wrong = found[~inside | ~code.known[np.where(inside, found, 0)]]
    if wrong.size:
        shown = ", ".join(str(value) for value in wrong[:5]) + (", ..." if wrong.size > 5 else "")
        raise BadImageError(
            f"its mask has values that are not labels: {shown}; expected {_ranges(code)}"
            f"{_hint(np.unique(values), code)}"
        )
    return code.table[values]


def is_black_and_white(masks: Iterable[Path]) -> bool:
    """Whether some masks have the values 0 and 255 and no other: 255 was meant for a class.

    Args:
        masks: Files of masks; those that cannot be read do not count.
    """
    found: set[int] = set()
    for path in masks:
        with contextlib.suppress(BadImageError):
            found |= set(np.unique(decode_values(path)).tolist())
        if not found <= {0, IGNORE_INDEX}:
            return False
    return IGNORE_INDEX in found


def _hint(found: np.ndarray, code: MaskCode) -> str:
    """What values that are not labels may mean."""
    labels = np.flatnonzero(code.known & (np.arange(256) != IGNORE_INDEX))
    if not len(labels) or labels[0] != 0:
        return ""
    count = len(labels)
    if found.min() > 0 and set(found.tolist()) <= {*range(1, count + 1), IGNORE_INDEX}:
        return ". Do the labels begin at 1? They are counted from 0"
    steps = np.diff(np.union1d(found, [0]))
    if 1 < len(found) <= count + 1 and steps.min() > 1 and steps.max() - steps.min() <= 1:
        return ". Are the labels spread over all greys? Label 1 has the value 1"
    return ""


def _check_integers(values: np.ndarray) -> None:
    if values.dtype != bool and not np.issubdtype(values.dtype, np.integer):
        raise BadImageError(f"its mask has numbers of type {values.dtype}, not integers")


def _ranges(code: MaskCode) -> str:
    """The known values in words: `0 to 20, 255`."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], code.known, [False]]).astype(np.int8)))
    pairs = [(int(a), int(b) - 1) for a, b in edges.reshape(-1, 2)]
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in pairs)
