"""Cross-entropy over the labelled pixels, each weighted with its confidence."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from recoseg.labels import IGNORE_INDEX


def weighted_cross_entropy(
    logits: Float[Tensor, "n c h w"],
    labels: Int64[Tensor, "n h w"],
    weights: Float[Tensor, "n h w"] | None = None,
) -> Float[Tensor, ""]:
    """The weighted mean of -log p(label): sum of w * loss / sum of w.

    Args:
        logits: Scores before the softmax.
        labels: 255 is ignored.
        weights: Weight of each pixel, 0 or more; None for 1 everywhere, which is the paper's loss.

    Returns:
        The loss; 0 if no pixel counts.

    Example:
        >>> import torch
        >>> weighted_cross_entropy(torch.zeros(1, 2, 1, 2), torch.tensor([[[1, 255]]]))
        tensor(0.6931)
    """
    loss = F.cross_entropy(logits.float(), labels, ignore_index=IGNORE_INDEX, reduction="none")
    counted = (labels != IGNORE_INDEX).to(loss.dtype)
    if weights is not None:
        counted = counted * weights
    total = counted.sum()
    return (loss * counted).sum() / total.clamp(min=1e-12)
