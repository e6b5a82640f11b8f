"""The reference embedding: one vector that represents what the seeds have in common."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from recoseg.cosegmentation.checks import CosegmentationError, check_choice

ReferenceForm = Literal["mean", "normalised-mean", "rank-weighted", "winner"]
"""How seed features become one reference embedding; see `reference_embedding`."""


def reference_embedding(
    seed_features: Float[Tensor, "k s C"], form: ReferenceForm = "mean"
) -> Float[Tensor, " C"]:
    """Reduce the seeds of k retrieved images, best match first, to one unit vector.

    Args:
        seed_features: Seed features as computed by the encoder, not normalised.
        form: `mean`: the mean of the seed features, as used for the published numbers; seeds with
            large features count more. `normalised-mean`: the mean of the L2-normalised seed
            features, as in the supplement's Algorithm 1. `rank-weighted`: the mean of the seed
            features with weight k - r for the image of rank r = 0, 1, ..., k - 1. `winner`: the
            seed with the highest mean cosine with all others; if several are equal, the first.

    Returns:
        The reference embedding, L2-normalised.

    Raises:
        CosegmentationError: The form is unknown, or the seed features sum to zero.

    Example:
        >>> reference_embedding(torch.tensor([[[3.0, 0.0]], [[0.0, 4.0]]]))
        tensor([0.6000, 0.8000])
    """
    check_choice("reference", form, get_args(ReferenceForm))
    k, s, _ = seed_features.shape
    seeds = seed_features.flatten(0, 1)
    if form == "mean":
        merged = seeds.mean(0)
    elif form == "normalised-mean":
        merged = F.normalize(seeds, dim=1).mean(0)
    elif form == "rank-weighted":
        weights = torch.arange(k, 0, -1, device=seeds.device, dtype=seeds.dtype)
        merged = (weights.repeat_interleave(s)[:, None] * seeds).sum(0) / (weights.sum() * s)
    else:
        unit = F.normalize(seeds, dim=1)
        # The sum of the cosines with all others, without a matrix of all pairs.
        others = (unit * (unit.sum(0) - unit)).sum(1)
        merged = seeds[int(others.argmax())]
    norm = torch.linalg.vector_norm(merged)
    if not norm > 0:
        raise CosegmentationError(
            "Expected seed features with a direction; got features that are all zero or sum to "
            "zero. Check the encoder's output."
        )
    return merged / norm


def reference_of_some(
    seed_features: Float[Tensor, "k s C"], present: Bool[Tensor, "k s"], form: ReferenceForm
) -> Float[Tensor, " C"]:
    """The reference embedding where images have different numbers of seeds.

    Each seed counts like any other, or in `rank-weighted` by the rank of its image.

    Args:
        seed_features: As for `reference_embedding`; those of absent seeds are ignored.
        present: Which seeds there are; one or more.
        form: See `reference_embedding`.

    Raises:
        CosegmentationError: As `reference_embedding`.
    """
    seeds = seed_features[present]
    if form == "rank-weighted":
        k = len(present)
        ranks = torch.arange(k, 0, -1, device=seeds.device, dtype=seeds.dtype)
        seeds = seeds * ranks[:, None].expand(present.shape)[present][:, None]
        form = "mean"  # the scale of the sum does not matter
    return reference_embedding(seeds[:, None], form)
