"""The region that shows a class in a retrieved photo, from what co-segmentation has found there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int32
from torch import Tensor
from torch.nn import functional as F

FINER = 8
"""Cells of a region per patch and axis, so that its edge can lie between patches."""

_BINS = 64


def split(values: Float[Tensor, "*n"]) -> float:
    """The threshold that divides values best into two groups (Otsu, 1979).

    The variance between the groups, which are values below it and all others, is the largest.

    Args:
        values: Two or more different values.

    Returns:
        One of 63 thresholds, evenly spaced between the smallest and the largest value.

    Example:
        >>> round(split(torch.tensor([0.0, 0.1, 0.0, 0.9, 1.0])), 2)
        0.11
    """
    flat = values.flatten().double()
    levels = torch.linspace(float(flat.min()), float(flat.max()), _BINS + 1).double()[1:-1]
    is_high = flat[None] >= levels[:, None]
    share = is_high.double().mean(1)
    high = (is_high * flat).sum(1) / is_high.sum(1).clamp(min=1)
    low = (~is_high * flat).sum(1) / (~is_high).sum(1).clamp(min=1)
    return float(levels[(share * (1 - share) * (high - low) ** 2).argmax()])


def similar_region(
    alike: Float[Tensor, "h w"], seeds: Sequence[tuple[int, int]]
) -> Bool[Tensor, "a b"]:
    """Where the patches of a photo resemble the reference of a class.

    The similarities are brought to a finer grid and divided into two groups; see `split`. The
    region is the higher group, lowered to the similarity of the best seed where that is in the
    other one.

    Args:
        alike: Cosine of each patch with the reference.
        seeds: Seeds of the photo as (y, x), one or more.

    Returns:
        The region, with `FINER` cells per patch and axis; never empty.
    """
    fine = F.interpolate(alike[None, None].float(), scale_factor=FINER, mode="bilinear")[0, 0]
    best_seed = max(float(alike[y, x]) for y, x in seeds)
    if not fine.max() > fine.min():
        return torch.ones_like(fine, dtype=torch.bool)
    level = min(split(fine), best_seed, float(fine.max()))
    return fine >= level


def seeded_region(
    regions: Int32[Tensor, "h w"], seeds: Sequence[tuple[int, int]]
) -> Bool[Tensor, "a b"]:
    """The regions of a photo that its seeds lie in.

    Args:
        regions: Label of the region of each patch; 0 for none.
        seeds: Seeds of the photo as (y, x), one or more. A seed in none counts as a region of its
            own.

    Returns:
        The region, with `FINER` cells per patch and axis.
    """
    own = torch.zeros_like(regions, dtype=torch.bool)
    for y, x in seeds:
        own[y, x] = True
        if regions[y, x]:
            own |= regions == regions[y, x]
    fine = F.interpolate(own[None, None].float(), scale_factor=FINER, mode="bilinear")
    return fine[0, 0] >= 0.5
