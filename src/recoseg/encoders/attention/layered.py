"""Features of all layers with the attention of all layers: CLIPer.

Source: Sun et al., CLIPer, ICCV 2025.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recoseg.encoders.attention.positions import Positions, by_size
from recoseg.encoders.attention.tower import (
    Grid,
    attend,
    block_of,
    depth,
    enter,
    heads,
    project,
    run,
    similarity,
)


def layered(
    visual: nn.Module, inputs: Float[Tensor, "n 3 H W"], positions: Positions = by_size
) -> tuple[list[Float[Tensor, "n p d"]], Float[Tensor, "n p p"], Grid]:
    """Features from the input of each block, through the last block's attention layer.

    The weights are the sum of the attention of all blocks but the last, balanced between rows and
    columns once more for each layer, without what is below the mean of its column.

    Args:
        visual: A ViT of open_clip with two blocks or more.
        inputs: Normalised photos; height and width are multiples of the patch.
        positions: How positions are resampled.

    Returns:
        The features of the patches for each layer, the first layer first; the weights of the last
        layer between patches, mean over heads; and the grid of patches.
    """
    tokens, grid = enter(visual, inputs, positions)
    entering = [tokens, *run(visual, tokens, 0, -1)]
    block = block_of(visual)
    total = torch.zeros((), dtype=tokens.dtype, device=tokens.device)
    for number, x in enumerate(entering[:-1]):
        found = heads(block_of(visual, number), x)
        total = total + similarity(found.q, found.k).softmax(-1)
    features, weights = [], total
    for number, x in enumerate(entering):
        total = total / total.sum(-2, keepdim=True)
        total = total / total.sum(-1, keepdim=True)
        weights = (total + total.transpose(-1, -2)) / 2
        weights = (weights - weights.mean(-2, keepdim=True)).clamp(min=0)
        weights = weights / weights.sum(-1, keepdim=True)
        last = number == depth(visual) - 1
        normed = x if last else block_of(visual, number).ln_1(x)
        mixed = attend(block, weights, heads(block, normed).v)
        features.append(project(visual, mixed)[:, 1:])
    return features, weights.mean(1)[:, 1:, 1:], grid
