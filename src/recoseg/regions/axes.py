"""From the cells of an encoder to pixels along one axis.

Cell i of an encoder with stride s covers the pixels from s i to s (i + 1) of its input, which the
encoder pads at the end to whole cells. Values are up-sampled bilinearly (`align_corners=False`) to
the pixels of all cells, cropped to the input, and resized to the photo's length if the photo was
resized for the encoder. Each step is linear, so together they are one matrix.

So is the mean over windows that slide over the input: the cells of all windows along an axis follow
each other, and the values of each pixel are divided by the number of windows that hold it. Tapered
windows count the less the nearer a pixel lies to their end, so that values change nowhere abruptly.
"""

from __future__ import annotations

import functools

import torch
from jaxtyping import Float, Float64
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
    cells: int,
    stride: int,
    input_pixels: int,
    output_pixels: int,
    starts: tuple[int, ...] = (0,),
    tapered: bool = False,
) -> Float[Tensor, "output_pixels all_cells"]:
    """From cells to output pixels along one axis: up-sample, crop, average the windows, resize.

    Args:
        cells: Length of the grid of each window; there are `len(starts) * cells` in all.
        stride: Pixels of the encoder's input per cell.
        input_pixels: Length of the input before padding.
        output_pixels: Length of the photo.
        starts: First pixel of each window. All windows are equally long, and the last one ends
            with the input. By default one window is the whole input.
        tapered: Whether a window counts in proportion to the distance from its nearer end, instead
            of the same everywhere.

    Raises:
        RecosegError: The grid does not cover a window with whole cells.
    """
    # Those of tapered windows are all different: they belong to the tiles of rasters.
    kept = not tapered and len(starts) * cells * output_pixels <= _MOST_KEPT
    build = _kept_axis_matrix if kept else _axis_matrix
    return build(cells, stride, input_pixels, output_pixels, starts, tapered)


def _axis_matrix(
    cells: int,
    stride: int,
    input_pixels: int,
    output_pixels: int,
    starts: tuple[int, ...],
    tapered: bool,
) -> Float[Tensor, "output_pixels all_cells"]:
    length = input_pixels - starts[-1]
    if not (cells - 1) * stride < length <= cells * stride:
        raise RecosegError(
            f"Expected ceil({length} / {stride}) = {-(-length // stride)} cells of "
            f"{stride} pixels; got {cells}. The encoder must pad at the right and the bottom."
        )
    matrix = bilinear_matrix(cells, cells * stride)[:length]
    if len(starts) > 1:
        matrix = _mean_of_windows(matrix, starts, input_pixels, tapered)
    return matrix if output_pixels == input_pixels else _resample(matrix, output_pixels)


def _mean_of_windows(
    window: Float[Tensor, "length cells"], starts: tuple[int, ...], pixels: int, tapered: bool
) -> Float[Tensor, "pixels all_cells"]:
    """From the cells of all windows to the mean at each pixel, given the matrix of one window."""
    length, cells = window.shape
    matrix = window.new_zeros(pixels, len(starts) * cells)
    sums = window.new_zeros(pixels, 1)
    weight = window.new_ones(length, 1)
    if tapered:
        place = torch.arange(length)[:, None] + 0.5
        weight = torch.minimum(place, length - place)
    for number, start in enumerate(starts):
        matrix[start : start + length, number * cells : (number + 1) * cells] = weight * window
        sums[start : start + length] += weight
    return matrix / sums


def cell_matrix(
    cells: int, stride: int, input_pixels: int, starts: tuple[int, ...]
) -> Float[Tensor, "whole_cells all_cells"]:
    """From the cells of windows to the cells of the whole input along one axis.

    Each cell of the whole input takes, from the windows that hold its centre, the mean of their
    values there, which are interpolated linearly between the centres of their cells.

    Args:
        cells: Length of the grid of each window.
        stride: Pixels of the encoder's input per cell.
        input_pixels: Length of the input before padding.
        starts: First pixel of each window; see `axis_matrix`.

    Example:
        >>> cell_matrix(2, 4, 12, (0, 4))  # the middle cell is in both windows
        tensor([[1.0000, 0.0000, 0.0000, 0.0000],
                [0.0000, 0.5000, 0.5000, 0.0000],
                [0.0000, 0.0000, 0.0000, 1.0000]])
    """
    centres = (torch.arange(-(-input_pixels // stride)) + 0.5) * stride
    held = centres.clamp(max=input_pixels - 0.5)  # the centre of the last cell may be padding
    length = input_pixels - starts[-1]
    parts, counts = [], centres.new_zeros(len(centres), 1)
    for start in starts:
        is_inside = ((held >= start) & (held < start + length))[:, None]
        places = ((centres - start) / stride - 0.5).double()
        parts.append(is_inside * _blend(torch.eye(cells), places))
        counts += is_inside
    return torch.cat(parts, dim=1) / counts


# A folder of photos has few sizes, and many classes and banks.
_kept_axis_matrix = functools.lru_cache(maxsize=64)(_axis_matrix)


def _resample(matrix: Float[Tensor, "p m"], pixels: int) -> Float[Tensor, "q m"]:
    """Resize the first axis bilinearly: each new row is a blend of two rows."""
    length = len(matrix)
    return _blend(
        matrix, (torch.arange(pixels, dtype=torch.float64) + 0.5) * (length / pixels) - 0.5
    )


def _blend(matrix: Float[Tensor, "p m"], places: Float64[Tensor, " q"]) -> Float[Tensor, "q m"]:
    """The rows at fractional places, each a blend of two; the ends go on beyond the axis."""
    last = len(matrix) - 1
    places = places.clamp(min=0)
    low = places.floor().long().clamp(max=last)
    high = (low + 1).clamp(max=last)
    share = (places - low).to(matrix.dtype)[:, None]
    return matrix[low] * (1 - share) + matrix[high] * share
