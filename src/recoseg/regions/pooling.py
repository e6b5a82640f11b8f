"""From cells to regions and back to pixels: means over regions, and votes of the pixels of each.

A grid of cells is up-sampled bilinearly to the pixels of the regions; see `recoseg.regions.axes`.
The mean of a region is then a weighted mean of cells. The weights are a matrix (regions x cells),
which is computed once for all features and scores on the same grid.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, Int32
from torch import Tensor

from recoseg.errors import RecosegError
from recoseg.regions.axes import axis_matrix
from recoseg.regions.protocol import NONE


def region_weights(
    regions: Int32[Tensor, "rh rw"],
    grid_hw: tuple[int, int],
    stride: int,
    input_hw: tuple[int, int],
) -> Float[Tensor, "r cells"]:
    """The share of each cell in the mean over each region of a grid that is up-sampled.

    Args:
        regions: Regions from 1 to r without gaps, and 0 for none, at any size of the photo.
        grid_hw: Size of the grid, cells.
        stride: Pixels of the encoder's input per cell; for regions on the grid itself 1, with
            `grid_hw` as `input_hw`.
        input_hw: Size of the encoder's input before it is padded at the right and the bottom.

    Returns:
        fp32 weights of the cells, row by row; those of a region add up to 1.

    Raises:
        RecosegError: The grid does not cover the input with whole cells.
    """
    axes = [
        _few(axis_matrix(grid_hw[axis], stride, input_hw[axis], regions.shape[axis]))
        for axis in (0, 1)
    ]
    (row_cells, row_shares), (column_cells, column_shares) = (
        (cells.to(regions.device), shares.to(regions.device)) for cells, shares in axes
    )
    cells = grid_hw[0] * grid_hw[1]
    count = int(regions.max()) + 1 if regions.numel() else 1
    weights = torch.zeros(count * cells, device=regions.device)
    first = regions.long() * cells
    # Each pixel has two cells (or three, if the photo was resized) along each axis.
    for rows, y_share in zip(row_cells.T, row_shares.T, strict=True):
        for columns, x_share in zip(column_cells.T, column_shares.T, strict=True):
            place = first + (rows * grid_hw[1])[:, None] + columns
            share = y_share[:, None] * x_share
            weights.scatter_add_(0, place.flatten(), share.flatten())
    weights = weights.view(count, cells)[1:]
    return weights / region_sizes(regions)[:, None]


def _few(matrix: Float[Tensor, "pixels cells"]) -> tuple[Tensor, Tensor]:
    """The cells that each row of a matrix uses and their shares, each (pixels, k)."""
    most = int((matrix != 0).sum(1).max())
    shares, cells = matrix.topk(most, dim=1)
    return cells, shares


def region_sizes(regions: Int32[Tensor, "rh rw"]) -> Float[Tensor, " r"]:
    """Pixels of each region, fp32."""
    return torch.bincount(regions.flatten())[1:].float()


def region_means(
    features: Float[Tensor, "C gh gw"], weights: Float[Tensor, "r cells"], *, unit: bool = True
) -> Float[Tensor, "r C"]:
    """Mean over each region of features that are up-sampled to its pixels.

    Args:
        features: Features, or scores, of an encoder.
        weights: Of `region_weights` for this grid.
        unit: Whether the features of each cell are normalised before the mean, and the mean
            after. Scores are not normalised.
    """
    if features.shape[1] * features.shape[2] != weights.shape[1]:
        raise RecosegError(
            f"Expected features of {weights.shape[1]} cells, for which the weights of the regions "
            f"were computed; got {features.shape[1]} x {features.shape[2]}."
        )
    cells = features.flatten(1).float()
    if not unit:
        return weights @ cells.T
    return F.normalize(weights @ F.normalize(cells, dim=0).T, dim=1)


def spread(
    region_scores: Float[Tensor, "c r"],
    regions: Int32[Tensor, "h w"],
    fill: float | Float[Tensor, "c h w"],
) -> Float[Tensor, "c h w"]:
    """The scores of each region at all its pixels.

    Args:
        region_scores: Scores of each class in each region.
        regions: Regions from 1 to r, and 0 for none.
        fill: Scores of the pixels of none.
    """
    flat = regions.flatten()
    constant = fill if isinstance(fill, int | float) else 0.0
    scores = F.pad(region_scores, (1, 0), value=constant).index_select(1, flat)
    if isinstance(fill, Tensor):
        none = (flat == NONE).nonzero()[:, 0]  # few, or no pixel at all
        scores[:, none] = fill.flatten(1)[:, none]
    return scores.view(len(scores), *regions.shape)


def vote_mode(labels: Int[Tensor, "h w"], regions: Int32[Tensor, "h w"]) -> Int[Tensor, "h w"]:
    """Give all pixels of a region their most frequent label; pixels of none keep theirs.

    Of labels that are equally frequent the smallest counts.

    Args:
        labels: Labels of 0 or more.
        regions: Regions from 1, and 0 for none.

    Example:
        >>> labels, regions = torch.tensor([[5, 2, 2, 9]]), torch.tensor([[1, 1, 1, 0]]).int()
        >>> vote_mode(labels, regions).tolist()
        [[2, 2, 2, 9]]
    """
    found, places = torch.unique(labels, return_inverse=True)
    pairs = regions.long() * len(found) + places
    counts = torch.bincount(pairs.flatten(), minlength=(int(regions.max()) + 1) * len(found))
    # Unique, so that the largest is the smallest of the most frequent labels on every device.
    ranks = counts.view(-1, len(found)) * len(found) - torch.arange(
        len(found), device=labels.device
    )
    voted = found[ranks.argmax(1)][regions.long()]
    return torch.where(regions == NONE, labels, voted)
