"""Sliding windows over large photos.

Windows begin at any pixel, whatever the cells of the encoders, and all are equally large. The
scores of a window are brought to its pixels bilinearly, and averaged, with equal or with tapered
weights, with those of the windows that overlap it. This is never done for whole photos: the grids
of all windows are laid side by side, and one matrix for the rows and one for the columns, which do
all of it, give any strip of rows; see `recoseg.regions.axes`.
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import UInt8
from torch import Tensor

from recoseg.errors import RecosegError

WHOLE = (0,)
"""The first pixel of the only window along an axis: there are no windows."""


def window_starts(length: int, window: int, step: int) -> tuple[int, ...]:
    """The first pixel of each window along one axis.

    The last window is shifted back so that it ends with the axis.

    Example:
        >>> window_starts(1000, 448, 224)
        (0, 224, 448, 552)
        >>> window_starts(300, 448, 224)
        (0,)
    """
    if window < 1 or step < 1 or step > window:
        raise RecosegError(f"Expected 1 <= step <= window; got step {step}, window {window}.")
    last = max(0, length - window)
    return (*range(0, last, step), last)


@dataclass(frozen=True)
class Windows:
    """The windows over a photo: each row of windows has the same columns.

    Attributes:
        rows: First row of pixels of each row of windows; the last one ends with the photo.
        columns: First column of pixels of each column of windows.
        tapered: Whether windows count less towards their ends; see `recoseg.regions.axes`.
    """

    rows: tuple[int, ...] = WHOLE
    columns: tuple[int, ...] = WHOLE
    tapered: bool = False

    @classmethod
    def over(cls, image_hw: tuple[int, int], window: int, step: int) -> Windows:
        """The windows over a photo; along a side that is shorter than a window there is one.

        Args:
            image_hw: Size of the encoders' input, pixels.
            window: Side of a window, pixels.
            step: Pixels from one window to the next.
        """
        rows, columns = (window_starts(side, window, step) for side in image_hw)
        return cls(rows, columns)

    @property
    def are_one(self) -> bool:
        """Whether the whole photo is one window."""
        return self.rows == WHOLE and self.columns == WHOLE

    def cut(self, pixels: UInt8[Tensor, "n 3 h w"]) -> list[UInt8[Tensor, "3 wh ww"]]:
        """The windows of photos, row by row; those of the first photo come first."""
        height, width = pixels.shape[2] - self.rows[-1], pixels.shape[3] - self.columns[-1]
        return [
            image[:, top : top + height, left : left + width]
            for image in pixels
            for top in self.rows
            for left in self.columns
        ]
