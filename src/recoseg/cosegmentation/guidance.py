"""Weights of patches: language guidance by the class's name, and context elimination."""

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
    """Weigh each patch by its similarity to the text of the class (paper, section 3.3).

    Args:
        text_scores: Cosine of each patch of the saliency encoder with the class's text embedding.
        feature_hw: Height and width of phi's feature grid, to which the weights are resized.
        scale: Factor on the cosine before the sigmoid; the published value is 10.
        offset: Cosine that gives the weight 0.5; the published value is 0.

    Returns:
        `sigmoid(scale * (cosine - offset))`, resized bilinearly (corners not aligned); in (0, 1).

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
    """Give patches that resemble sky, road or other context less weight (paper, section 3.3).

    Args:
        features: Features of phi; they need not be normalised.
        context: Reference embeddings of each context class, one or more per class. Without context
            classes all weights are 1.

    Returns:
        The product over the context classes of `1 - sigmoid(cosine)`, where the cosine is that
        with the class's most similar reference. The cosine is not scaled, so each context class
        multiplies the weight of a patch by 0.27 (same direction) to 0.73 (opposite direction),
        however many references the class has.

    Raises:
        CosegmentationError: The references of a class and the features differ in length.

    Example:
        >>> patch = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
        >>> context_elimination(patch, [torch.tensor([[0.0, 5.0]])])
        tensor([[[0.5000]]])
    """
    for rows in context:
        if rows.ndim != 2 or rows.shape[1] != features.shape[1] or not len(rows):
            raise CosegmentationError(
                f"Expected references of shape (r, {features.shape[1]}) with r >= 1 for each "
                f"context class, to fit the features; got {tuple(rows.shape)}."
            )
    k, _, height, width = features.shape
    weights = torch.ones(k, height, width, device=features.device)
    if not context:
        return weights
    sizes = [len(rows) for rows in context]
    references = F.normalize(torch.cat(list(context)).float(), dim=1).to(features.device)
    for index in range(k):  # one image at a time, to avoid a second copy of all features
        cosines = torch.einsum(
            "mc,chw->mhw", references, F.normalize(features[index].float(), dim=0)
        )
        if max(sizes) > 1:
            parts = torch.split_with_sizes(cosines, sizes)
            cosines = torch.stack([part.amax(0) for part in parts])
        weights[index] = torch.sigmoid(-cosines).prod(0)
    return weights
