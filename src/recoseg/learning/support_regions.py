"""The region that shows a class in a retrieved photo, from what co-segmentation has found there."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from recoseg.cosegmentation.guidance import context_elimination

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


def distinction(
    features: Float[Tensor, "k C h w"],
    reference: Float[Tensor, " C"],
    context: Sequence[Float[Tensor, "_ C"]],
) -> Float[Tensor, "k h w"]:
    """How much each patch resembles the reference of a class and not what is around it.

    Args:
        features: Features of phi; they need not be normalised.
        reference: The reference of the class, L2-normalised.
        context: References of each context class that is eliminated.

    Returns:
        The cosine with the reference, times the weight by `context_elimination`.
    """
    unit = reference.float()[:, None, None]
    alike = torch.stack([F.cosine_similarity(photo.float(), unit, 0) for photo in features])
    return alike * context_elimination(features, context)


def distinct_region(
    distinct: Float[Tensor, "h w"], seeds: Sequence[tuple[int, int]]
) -> Bool[Tensor, "a b"]:
    """Where the patches of a photo stand out as those of a class.

    Their distinction is brought to a finer grid and divided into two groups; see `split`. The
    region is the higher group, and if the best seed is in the other one, all that is as high as
    that seed. It fitted true masks better than the clusters by which classes are learnt, and than
    similarities without the context.

    Args:
        distinct: See `distinction`.
        seeds: Seeds of the photo as (y, x), one or more.

    Returns:
        The region, with `FINER` cells per patch and axis; never empty.
    """
    fine = F.interpolate(distinct[None, None].float(), scale_factor=FINER, mode="bilinear")[0, 0]
    if not fine.max() > fine.min():
        return torch.ones_like(fine, dtype=torch.bool)
    best_seed = max(float(fine[_middle(y), _middle(x)]) for y, x in seeds)
    return fine >= min(split(fine), best_seed)


def _middle(patch: int) -> int:
    return patch * FINER + FINER // 2
