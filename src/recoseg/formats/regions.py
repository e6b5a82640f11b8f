"""The regions of a label map that are objects in formats of objects: instances, or parts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int, UInt, UInt16

from recoseg.labels import WIDE_IGNORE_INDEX

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
    """The connected parts of a label map, and which of them are one object.

    Attributes:
        labels: The label map.
        numbers: The number of the part that each pixel belongs to, from 1 on; 0 is background.
        instances: The instance that each pixel belongs to, 0 for none; all pixels of an instance
            have the same label. A part lies within one instance, or within none.
    """

    labels: UInt[np.ndarray, "h w"]
    numbers: Int[np.ndarray, "h w"]
    instances: UInt16[np.ndarray, "h w"] | None = None

    def each(self, min_area: int = 0) -> list[Region]:
        """Each object as a region, in the order of their first pixels, row by row.

        An object is an instance, or a connected part that belongs to none.

        Args:
            min_area: Objects with fewer pixels are left out.
        """
        from scipy.ndimage import find_objects

        objects, members = self._objects()
        found = []
        for number, place in enumerate(find_objects(objects), start=1):
            mask = objects[place] == number
            if np.count_nonzero(mask) >= min_area:
                label = int(self.labels[place][mask][0])
                found.append(Region(label, _box(place), mask, members[number]))
        return found

    def _objects(self) -> tuple[Int[np.ndarray, "h w"], Sequence[tuple[int, ...]]]:
        """The number of the object that each pixel belongs to, and the parts of each object."""
        count = int(self.numbers.max(initial=0))
        if self.instances is None:
            return self.numbers, [(number,) for number in range(count + 1)]
        owner, label = np.zeros((2, count + 1), np.int64)  # the instance and label of each part
        owner[self.numbers], label[self.numbers] = self.instances, self.labels
        owned = zip(owner.tolist(), label.tolist(), strict=True)
        first: dict[tuple[int, int], int] = {}
        members: list[tuple[int, ...]] = [()]
        table = np.zeros(count + 1, self.numbers.dtype)
        for number, own in enumerate(owned):
            if number == 0:
                continue
            at = first.setdefault(own, len(members)) if own[0] else len(members)
            if at == len(members):
                members.append(())
            members[at] += (number,)
            table[number] = at
        return table[self.numbers], members

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


def parts_of(
    labels: UInt[np.ndarray, "h w"],
    ignored: int,
    instances: UInt16[np.ndarray, "h w"] | None = None,
) -> Parts:
    """The connected parts of a label map: equal labels that touch by a side or by a corner.

    Args:
        labels: The label map.
        ignored: The label of background, which belongs to no part.
        instances: The instance that each pixel belongs to, 0 for none; different ones are
            different parts.

    Example:
        >>> parts_of(np.array([[0, 255], [255, 0]], np.uint8), 255).numbers.tolist()
        [[1, 0], [0, 1]]
    """
    from skimage.measure import label

    apart = labels.astype(np.int32)
    if instances is not None:
        by_instance = apart + instances.astype(np.int64) * (WIDE_IGNORE_INDEX + 1)
        apart = np.where(labels == ignored, ignored, by_instance)
    numbers: np.ndarray = label(apart, background=ignored, connectivity=2)
    return Parts(labels, numbers.astype(np.int32, copy=False), instances)


def _box(place: tuple[slice, slice]) -> Box:
    rows, columns = place
    left, top = int(columns.start), int(rows.start)
    return left, top, int(columns.stop) - left, int(rows.stop) - top
