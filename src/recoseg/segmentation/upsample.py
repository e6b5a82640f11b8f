"""From score grids to pixels, strip by strip.

Cell (y, x) of an encoder with stride s covers the pixels from s y to s (y + 1) and from s x to
s (x + 1) of its input, which the encoder pads at the right and the bottom to whole cells. A grid is
therefore up-sampled bilinearly (`align_corners=False`) to the pixels of all its cells, cropped to
the input, and resized to the size of the photo if the photo was resized for the encoder. Each step
is linear and separable, so together they are one matrix for the rows and one for the columns, and
any strip of output rows can be computed alone.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.errors import RecosegError

_MOST_KEPT = 1 << 22
"""Size up to which matrices are kept for the next photos, elements (16 MiB)."""


def bilinear_matrix(cells: int, pixels: int) -> Float[Tensor, "pixels cells"]:
    """The matrix of `interpolate(mode="bilinear", align_corners=False)` along one axis.

    Example:
        >>> bilinear_matrix(2, 4)
        tensor([[1.0000, 0.0000],
                [0.7500, 0.2500],
                [0.2500, 0.7500],
                [0.0000, 1.0000]])
    """
    return _resample(torch.eye(cells), pixels)


def axis_matrix(
    cells: int, stride: int, input_pixels: int, output_pixels: int
) -> Float[Tensor, "output_pixels cells"]:
    """From cells to output pixels along one axis: up-sample, crop the padding, resize.

    Args:
        cells: Length of the grid.
        stride: Pixels of the encoder's input per cell.
        input_pixels: Length of the encoder's input before padding; more than
            `(cells - 1) * stride` and at most `cells * stride`.
        output_pixels: Length of the photo.

    Raises:
        RecosegError: The grid does not cover the input with whole cells.
    """
    kept = cells * output_pixels <= _MOST_KEPT
    build = _kept_axis_matrix if kept else _axis_matrix
    return build(cells, stride, input_pixels, output_pixels)


def _axis_matrix(
    cells: int, stride: int, input_pixels: int, output_pixels: int
) -> Float[Tensor, "output_pixels cells"]:
    if not (cells - 1) * stride < input_pixels <= cells * stride:
        raise RecosegError(
            f"Expected ceil({input_pixels} / {stride}) = {-(-input_pixels // stride)} cells of "
            f"{stride} pixels; got {cells}. The encoder must pad at the right and the bottom."
        )
    matrix = bilinear_matrix(cells, cells * stride)[:input_pixels]
    return matrix if output_pixels == input_pixels else _resample(matrix, output_pixels)


# A folder of photos has few sizes, and many classes and banks.
_kept_axis_matrix = functools.lru_cache(maxsize=64)(_axis_matrix)


def _resample(matrix: Float[Tensor, "p m"], pixels: int) -> Float[Tensor, "q m"]:
    """Resize the first axis bilinearly: each new row is a blend of two rows."""
    length = len(matrix)
    position = (torch.arange(pixels, dtype=torch.float64) + 0.5) * (length / pixels) - 0.5
    position = position.clamp(min=0)
    low = position.floor().long().clamp(max=length - 1)
    high = (low + 1).clamp(max=length - 1)
    share = (position - low).to(matrix.dtype)[:, None]
    return matrix[low] * (1 - share) + matrix[high] * share


@dataclass(frozen=True)
class Upsampler:
    """The two matrices that up-sample a score grid to the pixels of a photo.

    Attributes:
        rows: From grid rows to photo rows.
        columns: From grid columns to photo columns.
    """

    rows: Float[Tensor, "h gh"]
    columns: Float[Tensor, "w gw"]

    @classmethod
    def build(
        cls,
        grid_hw: tuple[int, int],
        stride: int,
        input_hw: tuple[int, int],
        output_hw: tuple[int, int],
        device: torch.device | str = "cpu",
    ) -> Upsampler:
        """Build the matrices for a grid; see `axis_matrix` for the arguments, each as (y, x)."""
        rows, columns = (
            axis_matrix(grid_hw[axis], stride, input_hw[axis], output_hw[axis]).to(device)
            for axis in (0, 1)
        )
        return cls(rows, columns)

    def strip(
        self, scores: Float[Tensor, "c gh gw"], start: int, end: int
    ) -> Float[Tensor, "c strip w"]:
        """Rows `start` to `end` (exclusive) of all score maps at the size of the photo."""
        # Only the grid rows that these photo rows depend on.
        block = self.rows[start:end]
        seen = block.abs().sum(0).nonzero()
        first, last = int(seen[0]), int(seen[-1]) + 1
        narrow = torch.matmul(block[:, first:last], scores[:, first:last])
        return torch.matmul(narrow, self.columns.T)
