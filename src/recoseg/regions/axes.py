"""From the cells of an encoder to pixels along one axis.

Cell i of an encoder with stride s covers the pixels from s i to s (i + 1) of its input, which the
encoder pads at the end to whole cells. Values are up-sampled bilinearly (`align_corners=False`) to
the pixels of all cells, cropped to the input, and resized to the photo's length if the photo was
resized for the encoder. Each step is linear, so together they are one matrix.
"""

from __future__ import annotations

import functools

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
