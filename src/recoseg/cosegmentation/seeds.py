"""Support scores from the block maxima, and the selection of seed pixels."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from recoseg.cosegmentation.checks import CosegmentationError, check_choice

Block = Literal["image", "paper"]
"""Which columns of the adjacency matrix one vote spans; see `support_scores`."""


def support_scores(maxima: Float[Tensor, "n k"], block: Block = "image") -> Float[Tensor, " n"]:
    """Mean over the images of each patch's best match, called `avg_grid` in the pseudo-code.

    Args:
        maxima: Block maxima from `block_maxima`.
        block: `image`: one vote per image, as the paper describes. `paper`: the slice that was
            published in the supplement's Algorithm 1 and used for the published numbers, where
            vote i (counted from 0) is the maximum over the images i to min(2 i, k - 1). It
            gives images late in the ranking many more votes than the first ones.

    Returns:
        One score per patch, in [-1, 1].

    Raises:
        CosegmentationError: The block's name is unknown.

    Example:
        >>> maxima = torch.tensor([[0.0, 0.5, 0.7, 0.9]])
        >>> support_scores(maxima).item()  # (0.0 + 0.5 + 0.7 + 0.9) / 4
        0.5249999761581421
        >>> support_scores(maxima, "paper").item()  # (0.0 + 0.7 + 0.9 + 0.9) / 4
        0.625
    """
    check_choice("block", block, get_args(Block))
    if block == "image":
        return maxima.mean(1)
    total = torch.zeros_like(maxima[:, 0])
    for i in range(maxima.shape[1]):
        total += maxima[:, i : 2 * i + 1].amax(1)
    return total / maxima.shape[1]


def select_seeds(
    support: Float[Tensor, "k h w"], seeds_per_image: int = 1, border: int = 0
) -> Int64[Tensor, "k s 2"]:
    """The cells of highest support in each image.

    Args:
        support: Support scores.
        seeds_per_image: Number of cells per image (supplement, Table 2).
        border: Number of outer rings of cells that cannot be seeds, for encoders whose zero
            padding makes the borders of all images similar. If too few cells are left inside,
            fewer rings are excluded.

    Returns:
        Cells as (y, x), best first; cells of equal support are in reading order.

    Raises:
        CosegmentationError: The number of seeds is less than 1 or larger than the number of cells,
            or the border is negative.
    """
    k, height, width = support.shape
    if not 1 <= seeds_per_image <= height * width:
        raise CosegmentationError(
            f"Expected 1 to {height * width} seeds per image on a grid of {height} x {width} "
            f"cells; got {seeds_per_image}."
        )
    if border < 0:
        raise CosegmentationError(f"Expected a border of 0 or more cells; got {border}.")
    while border and (
        min(height, width) <= 2 * border
        or (height - 2 * border) * (width - 2 * border) < seeds_per_image
    ):
        border -= 1
    inner = support[:, border : height - border, border : width - border]
    order = inner.reshape(k, -1).sort(dim=1, descending=True, stable=True).indices
    best = order[:, :seeds_per_image]
    return torch.stack((best // inner.shape[2], best % inner.shape[2]), dim=2) + border


def gather_seeds(
    features: Float[Tensor, "k C h w"], seeds: Int64[Tensor, "k s 2"]
) -> Float[Tensor, "k s C"]:
    """The features at the seeds, not normalised, in fp32 (fp64 for fp64 features)."""
    image = torch.arange(len(features), device=features.device)[:, None]
    picked = features[image, :, seeds[..., 0], seeds[..., 1]]
    return picked if picked.dtype == torch.float64 else picked.float()


def gather_regions(
    features: Float[Tensor, "k C h w"],
    seeds: Int64[Tensor, "k s 2"],
    regions: Int32[Tensor, "k h w"],
) -> Float[Tensor, "k s C"]:
    """The unit mean of the unit features of the region that each seed lies in, fp32.

    Args:
        features: Features of phi; they need not be normalised.
        seeds: Cells as (y, x).
        regions: The region of each cell: labels from 1, and 0 for none. A seed in none counts as a
            region of its own.

    Raises:
        CosegmentationError: The regions do not fit the features.
    """
    expected = (features.shape[0], *features.shape[2:])
    if tuple(regions.shape) != expected:
        raise CosegmentationError(
            f"Expected regions of shape (k, h, w) = {expected}; got {tuple(regions.shape)}."
        )
    image = torch.arange(len(features), device=features.device)[:, None]
    labels = regions.to(features.device)
    own = labels[image, seeds[..., 0], seeds[..., 1]]
    inside = (labels[:, None] == own[..., None, None]) & (own != 0)[..., None, None]
    inside[image, torch.arange(seeds.shape[1])[None], seeds[..., 0], seeds[..., 1]] = True
    rows = []
    for members, photo in zip(inside.flatten(2), features.flatten(2), strict=True):
        unit = F.normalize(photo.float(), dim=0)  # one photo at a time, to save memory
        rows.append(F.normalize(members.float() @ unit.T, dim=1))
    return torch.stack(rows)
