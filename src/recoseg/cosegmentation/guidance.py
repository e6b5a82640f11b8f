"""Weights of patches: towards the class's name, away from what is common to most photos."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from recoseg.cosegmentation.checks import CosegmentationError


def language_guidance(
    text_scores: Float[Tensor, "k gh gw"],
    feature_hw: tuple[int, int],
    scale: float = 10.0,
    offset: float = 0.0,
) -> Float[Tensor, "k h w"]:
    """How much each patch looks like what the class is called (paper, section 3.3).

    Args:
        text_scores: Cosine of each patch of the saliency encoder with the class's text embedding.
        feature_hw: The grid of phi, to which the weights are brought.
        scale: Factor on the cosine before the sigmoid; 10 is published.
        offset: Cosine that gives the weight 0.5; 0 is published.

    Returns:
        `sigmoid(scale * (cosine - offset))`, then up-sampled bilinearly (corners not aligned); in
        (0, 1).

    Example:
        >>> language_guidance(torch.tensor([[[0.0, 1.0]]]), (1, 2))
        tensor([[[0.5000, 1.0000]]])
    """
    if text_scores.ndim != 3:
        raise CosegmentationError(
            f"Expected text scores of shape (k, h, w); got {tuple(text_scores.shape)}."
        )
    weights = torch.sigmoid(scale * (text_scores.float() - offset))
    if weights.shape[1:] != feature_hw:
        weights = F.interpolate(
            weights[:, None], size=feature_hw, mode="bilinear", align_corners=False
        )[:, 0]
    return weights


def context_elimination(
    features: Float[Tensor, "k C h w"], context: Sequence[Float[Tensor, "_ C"]]
) -> Float[Tensor, "k h w"]:
    """How little each patch resembles sky, road and other context (paper, section 3.3).

    Args:
        features: Features of phi; need not be normalised.
        context: The reference embeddings of each context class, one or more; no class gives ones.

    Returns:
        The product over the context classes of `1 - sigmoid(cosine)`, where the cosine is that of
        the class's most similar reference. It has no factor, so each context class scales a patch
        by 0.27 (alike) to 0.73 (opposite), however many references the class has.

    Raises:
        CosegmentationError: The references of a class have another length than the features.

    Example:
        >>> patch = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
        >>> context_elimination(patch, [torch.tensor([[0.0, 5.0]])])
        tensor([[[0.5000]]])
    """
    for rows in context:
        if rows.ndim != 2 or rows.shape[1] != features.shape[1] or not len(rows):
            raise CosegmentationError(
                f"Expected references of shape (r, {features.shape[1]}) with r >= 1 for each "
                f"context class, as long as the features; got {tuple(rows.shape)}."
            )
    k, _, height, width = features.shape
    weights = torch.ones(k, height, width, device=features.device)
    if not context:
        return weights
    sizes = [len(rows) for rows in context]
    references = F.normalize(torch.cat(list(context)).float(), dim=1).to(features.device)
    for index in range(k):  # one image at a time: no second copy of all features
        cosines = torch.einsum(
            "mc,chw->mhw", references, F.normalize(features[index].float(), dim=0)
        )
        if max(sizes) > 1:
            parts = torch.split_with_sizes(cosines, sizes)
            cosines = torch.stack([part.amax(0) for part in parts])
        weights[index] = torch.sigmoid(-cosines).prod(0)
    return weights
