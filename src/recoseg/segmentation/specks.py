"""Specks and holes: parts of a label map that are too small to mean anything.

A part is a set of pixels of one label (a class or background) that touch each other by their sides.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt

from recoseg.config import PAPER_RECIPE
from recoseg.errors import OptionError
from recoseg.refinement.refiner import RefineForm

REFINED_SHARE = 0.0003
"""The least area, as a share of the photo, that suits refinement along edges: 20 pixels of a photo
of 320 x 213."""

REFINES_EDGES = ("pamr", "crf", "lposs+")
"""The refinements that decide pixel by pixel."""

_LARGEST = 1_000_000_000
_PASSES = 8


@dataclass(frozen=True)
class SpeckRule:
    """Which parts of a label map are too small; each of their pixels gets the nearest other label.

    Attributes:
        min_area: Least area of a part in pixels, or as a share of the photo if below 1; 0 leaves
            all parts as they are.

    Raises:
        RecosegError: The area is out of range.
    """

    min_area: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_area <= _LARGEST:  # false for NaN too
            raise OptionError(
                f"min_area is {self.min_area}; expected 0, a number of pixels, or a share of the "
                "photo below 1."
            )

    @property
    def is_idle(self) -> bool:
        """Whether it leaves all label maps as they are."""
        return self.min_area == 0

    def to_json(self) -> dict[str, Any]:
        """The rule as JSON fields; none if it is idle."""
        return {} if self.is_idle else {"min_area": self.min_area}

    def pixels(self, height: int, width: int) -> float:
        """The least area of a part in a photo of this size."""
        return self.min_area if self.min_area >= 1 else self.min_area * height * width

    def clean(
        self, labels: UInt[np.ndarray, "h w"], valid: Bool[np.ndarray, "h w"] | None = None
    ) -> UInt[np.ndarray, "h w"]:
        """A label map without parts that are too small.

        A part that surrounds others and is too small itself vanishes with them. If no part is large
        enough, the largest one takes the whole photo, and a warning says so once. Time and memory
        (about 40 bytes per pixel) grow with the number of pixels alone.

        Args:
            labels: The label map.
            valid: The pixels with data; the others divide parts, keep their labels, and give none
                to parts that are too small. So do islands of data that are too small themselves.
                By default all have data.

        Example:
            >>> labels = np.array([[0, 0, 0, 1], [0, 2, 0, 1], [0, 0, 0, 1]], np.uint8)
            >>> SpeckRule(3).clean(labels).tolist()
            [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]]
        """
        if self.is_idle:
            return labels
        least = self.pixels(*labels.shape)
        if valid is not None:
            valid = None if valid.all() else _large_islands(valid, least)
        for _ in range(_PASSES):
            parts = _parts(labels, valid)
            sizes = np.bincount(parts.ravel())
            sizes[:1] = 0  # no part
            is_small = (sizes < least)[parts]
            if valid is not None:
                is_small &= valid
            if not is_small.any():
                break
            if sizes.max() < least:
                self._warn()
                largest = labels.flat[np.argmax(parts == sizes.argmax())]
                whole = np.full_like(labels, largest)
                return whole if valid is None else np.where(valid, whole, labels)
            before, labels = labels, _filled(labels, is_small, valid)
            if np.array_equal(labels, before):
                break
        return labels

    def _warn(self) -> None:
        """Warn of a rule that no part of a photo fulfils; Python shows equal warnings once."""
        warnings.warn(
            f"With the least area {self.min_area:g} (--min-area) all parts of a photo are too "
            "small; its largest part takes the whole photo. Give a smaller one if that is not "
            "meant. This is said once, for the first such photo.",
            stacklevel=2,
        )


def speck_rule(min_area: float | None, refine: RefineForm, recipe: str | None = None) -> SpeckRule:
    """The rule for a least area, or, where none is asked for, the one that suits a refinement.

    Refinement along edges leaves many parts of a few pixels; the published recipe keeps them.

    Args:
        min_area: See `SpeckRule`; None for the default.
        refine: How scores are refined.
        recipe: The recipe of the settings, if there is one.
    """
    if min_area is not None:
        return SpeckRule(min_area)
    suits = refine in REFINES_EDGES and recipe != PAPER_RECIPE
    return SpeckRule(REFINED_SHARE if suits else 0.0)


def _parts(labels: UInt[np.ndarray, "h w"], valid: np.ndarray | None) -> np.ndarray:
    """The number of the part that each pixel belongs to, from 1; 0 for pixels without data."""
    from skimage.measure import label

    # No label is left out as the ground that parts lie on.
    shown = labels if valid is None else np.where(valid, labels.astype(np.int32), -1)
    found: np.ndarray = label(shown, background=-1, connectivity=1)
    return found


def _large_islands(valid: Bool[np.ndarray, "h w"], least: float) -> Bool[np.ndarray, "h w"]:
    """The pixels with data in islands that have as many pixels as a part needs."""
    from skimage.measure import label

    islands = label(valid, background=0, connectivity=1)
    sizes = np.bincount(islands.ravel())
    sizes[0] = 0
    found: np.ndarray = (sizes >= least)[islands] & valid
    return found


def _filled(
    labels: UInt[np.ndarray, "h w"], is_missing: np.ndarray, valid: np.ndarray | None
) -> UInt[np.ndarray, "h w"]:
    """Missing pixels get the labels of the nearest pixels that are valid and not missing."""
    from skimage.segmentation import expand_labels

    known = np.where(is_missing, 0, labels.astype(np.int32) + 1)
    if valid is not None:
        known[~valid] = 0
    found: np.ndarray = expand_labels(known, distance=sum(labels.shape)) - 1
    return np.where(is_missing, found, labels).astype(labels.dtype)
