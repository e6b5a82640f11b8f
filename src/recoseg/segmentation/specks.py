"""Specks and holes: parts of a label map that are too small to mean anything.

A part is a set of pixels of one label (a class or background) that touch each other by their sides.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt

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

    def clean(self, labels: UInt[np.ndarray, "h w"]) -> UInt[np.ndarray, "h w"]:
        """A label map without parts that are too small.

        A part that surrounds others and is too small itself vanishes with them. If no part is large
        enough, the largest one takes the whole photo, and a warning says so once. Time and memory
        (about 40 bytes per pixel) grow with the number of pixels alone.

        Example:
            >>> labels = np.array([[0, 0, 0, 1], [0, 2, 0, 1], [0, 0, 0, 1]], np.uint8)
            >>> SpeckRule(3).clean(labels).tolist()
            [[0, 0, 0, 1], [0, 0, 0, 1], [0, 0, 0, 1]]
        """
        if self.is_idle:
            return labels
        least = self.pixels(*labels.shape)
        for _ in range(_PASSES):
            is_small = _small(labels, least)
            if not is_small.any():
                break
            if is_small.all():
                self._warn()
                return np.full_like(labels, _largest(labels))
            labels = _filled(labels, is_small)
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


def _parts(labels: UInt[np.ndarray, "h w"]) -> np.ndarray:
    """The number of the part that each pixel belongs to, from 1."""
    from skimage.measure import label

    # No label is left out as the ground that parts lie on.
    found: np.ndarray = label(labels, background=-1, connectivity=1)
    return found


def _largest(labels: UInt[np.ndarray, "h w"]) -> int:
    """The label of the largest part; of several the first one's, row by row."""
    parts = _parts(labels)
    return int(labels.flat[np.argmax(parts == np.bincount(parts.ravel()).argmax())])


def _small(labels: UInt[np.ndarray, "h w"], least: float) -> np.ndarray:
    """The pixels of parts that have fewer pixels."""
    parts = _parts(labels)
    found: np.ndarray = (np.bincount(parts.ravel()) < least)[parts]
    return found


def _filled(labels: UInt[np.ndarray, "h w"], is_missing: np.ndarray) -> UInt[np.ndarray, "h w"]:
    """The labels of the nearest pixels that are not missing."""
    from skimage.segmentation import expand_labels

    known = np.where(is_missing, 0, labels.astype(np.int32) + 1)
    found: np.ndarray = expand_labels(known, distance=sum(labels.shape)) - 1
    return found.astype(labels.dtype)
