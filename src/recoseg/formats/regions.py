"""The connected regions of a label map, each of which is one object in formats of objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt

Box = tuple[int, int, int, int]
"""Left, top, width and height, pixels."""


@dataclass(frozen=True, eq=False)
class Region:
    """Pixels of one class.

    Attributes:
        label: The label of its class.
        box: The smallest box around it.
        mask: Its pixels within the box.
        numbers: The numbers of its connected parts in `Parts.numbers`.
    """

    label: int
    box: Box
    mask: Bool[np.ndarray, "height width"]
    numbers: tuple[int, ...]

    @property
    def area(self) -> int:
        """Number of its pixels."""
        return int(np.count_nonzero(self.mask))

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom of the box, pixels; right and bottom lie outside of it."""
        left, top, width, height = self.box
        return left, top, left + width, top + height

    def whole(self, height: int, width: int) -> Bool[np.ndarray, "h w"]:
        """Its pixels in the whole photo."""
        left, top, right, bottom = self.corners
        mask = np.zeros((height, width), bool)
        mask[top:bottom, left:right] = self.mask
        return mask


@dataclass(frozen=True, eq=False)
class Parts:
    """The connected parts of a label map.

    Attributes:
        labels: The label map.
        numbers: The number of the part that each pixel belongs to, from 1 on; 0 is background.
    """

    labels: UInt[np.ndarray, "h w"]
    numbers: Int[np.ndarray, "h w"]

    def each(self, min_area: int = 0) -> list[Region]:
        """Each connected part as a region, in the order of their first pixels, row by row.

        Args:
            min_area: Parts with fewer pixels are left out.
        """
        from scipy.ndimage import find_objects

        found = []
        for number, place in enumerate(find_objects(self.numbers), start=1):
            mask = self.numbers[place] == number
            if np.count_nonzero(mask) >= min_area:
                label = int(self.labels[place][mask][0])
                found.append(Region(label, _box(place), mask, (number,)))
        return found

    def by_class(self) -> list[Region]:
        """All pixels of each class that is present as one region, in the order of the labels."""
        inside = self.numbers > 0
        found = []
        for label in np.unique(self.labels[inside]).tolist():
            mask = (self.labels == label) & inside
            rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
            place = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
            numbers = tuple(np.unique(self.numbers[mask]).tolist())
            found.append(Region(label, _box(place), mask[place], numbers))
        return found


def parts_of(labels: UInt[np.ndarray, "h w"], ignored: int) -> Parts:
    """The connected parts of a label map: equal labels that touch by a side or by a corner.

    Args:
        labels: The label map.
        ignored: The label of background, which belongs to no part.

    Example:
        >>> parts_of(np.array([[0, 255], [255, 0]], np.uint8), 255).numbers.tolist()
        [[1, 0], [0, 1]]
    """
    from skimage.measure import label

    numbers: np.ndarray = label(labels.astype(np.int32), background=ignored, connectivity=2)
    return Parts(labels, numbers.astype(np.int32, copy=False))


def _box(place: tuple[slice, slice]) -> Box:
    rows, columns = place
    left, top = int(columns.start), int(rows.start)
    return left, top, int(columns.stop) - left, int(rows.stop) - top
