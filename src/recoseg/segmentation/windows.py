"""Sliding windows over large photos.

Windows begin at whole cells, so the score grid of a window is a part of the photo's grid. Scores
are averaged on the grid, cell by cell, before they are up-sampled, which needs little memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.errors import RecosegError


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels, `y0` to `y1` and `x0` to `x1`, the ends exclusive."""

    y0: int
    y1: int
    x0: int
    x1: int


def window_starts(length: int, window: int, step: int, multiple: int = 1) -> list[int]:
    """The first pixel of each window along one axis.

    The last window is shifted back so that it ends with the axis, and then forward to a multiple
    of `multiple`. It may be up to `multiple` - 1 pixels shorter than the others; encoders pad it.

    Example:
        >>> window_starts(1000, 448, 224)
        [0, 224, 448, 552]
        >>> window_starts(1000, 448, 224, multiple=32)
        [0, 224, 448, 576]
        >>> window_starts(300, 448, 224)
        [0]
    """
    if window < 1 or step < 1 or step > window:
        raise RecosegError(f"Expected 1 <= step <= window; got step {step}, window {window}.")
    if window % multiple or step % multiple:
        raise RecosegError(
            f"Expected window and step to be multiples of {multiple}; got {window} and {step}."
        )
    last = max(0, -(-(length - window) // multiple) * multiple)
    return [*range(0, last, step), last]


def window_boxes(image_hw: tuple[int, int], window: int, step: int, multiple: int = 1) -> list[Box]:
    """All windows of a photo, row by row.

    Args:
        image_hw: Size of the photo, pixels.
        window: Side of a window, pixels.
        step: Pixels from one window to the next.
        multiple: Window, step and the first pixels must be multiples of this: the least common
            multiple of the strides of the encoders.
    """
    height, width = image_hw
    return [
        Box(y, min(y + window, height), x, min(x + window, width))
        for y in window_starts(height, window, step, multiple)
        for x in window_starts(width, window, step, multiple)
    ]


class GridMean:
    """Mean of overlapping score grids."""

    def __init__(
        self, classes: int, grid_hw: tuple[int, int], device: torch.device | str = "cpu"
    ) -> None:
        self._total = torch.zeros(classes, *grid_hw, device=device)
        self._count = torch.zeros(grid_hw, device=device)

    def add(self, scores: Float[Tensor, "c gh gw"], y: int, x: int) -> None:
        """Add the scores of a window whose first cell is (y, x)."""
        _, height, width = scores.shape
        self._total[:, y : y + height, x : x + width] += scores
        self._count[y : y + height, x : x + width] += 1

    def mean(self) -> Float[Tensor, "c gh gw"]:
        """The mean at each cell.

        Raises:
            RecosegError: A cell is not covered by any window.
        """
        if not bool((self._count > 0).all()):
            raise RecosegError(
                "Some cells are not in any window; expected windows that cover the whole photo."
            )
        return self._total / self._count
