"""One map per class of what a model of concepts says of a word: presence, map, instances."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

CONFIDENCE = 0.3
"""Instances of a lower score do not count, as published with SAM 3."""


def class_map(
    presence: Float[Tensor, ""],
    semantic: Float[Tensor, "h w"],
    instances: Float[Tensor, " q"],
    masks: Float[Tensor, "q h w"],
    confidence: float = CONFIDENCE,
) -> Float[Tensor, "h w"]:
    """How likely each pixel shows a word: p max(S, max_i s_i M_i).

    All inputs are logits. p is the probability that the photo shows the word, S its semantic map,
    M_i the masks of instances, and s_i their scores, which are multiplied by p as well. The
    semantic map has the extent of things without parts, such as grass, and instances have edges.

    Args:
        presence: Whether the photo shows the word.
        semantic: Map of the word.
        instances: Scores of the instances.
        masks: Masks of the instances.
        confidence: Instances of a lower score do not count.

    Returns:
        Probabilities, 0 to 1.

    Example:
        >>> low, high = torch.tensor(-9.0), torch.tensor(9.0)
        >>> maps = torch.tensor([[-9.0, 9.0]])
        >>> class_map(high, maps, high[None], maps.flip(1)[None]).round().tolist()
        [[1.0, 1.0]]
        >>> class_map(low, maps, high[None], maps.flip(1)[None]).round().tolist()
        [[0.0, 0.0]]
    """
    present = presence.sigmoid()
    scores = instances.sigmoid() * present
    best = semantic.sigmoid()
    for score, mask in zip(scores, masks, strict=True):
        if score >= confidence:  # few are; one after the other they take the memory of one
            best = torch.maximum(best, score * mask.sigmoid())
    return present * best


def of_words(
    maps: Float[Tensor, "p h w"], positive: slice, negative: slice
) -> Float[Tensor, "h w"]:
    """The map of a class of the maps of its words: the best, but 0 where a negative one is better.

    Args:
        maps: The map of each word.
        positive: The words of the class.
        negative: Words that must not be mistaken for it; none where the slice is empty.

    Example:
        >>> maps = torch.tensor([[[0.2, 0.6]], [[0.5, 0.1]], [[0.1, 0.7]]])
        >>> of_words(maps, slice(0, 2), slice(2, 3)).tolist()
        [[0.5, 0.0]]
    """
    best = maps[positive].amax(0)
    if negative.start == negative.stop:
        return best
    return torch.where(maps[negative].amax(0) > best, 0.0, best)


def at_cells(
    maps: Float[Tensor, "n c a b"], input_hw: tuple[int, int], stride: int
) -> Float[Tensor, "n c gh gw"]:
    """Maps of whole photos, whatever their grid, at the centres of square cells.

    Args:
        maps: Maps over the whole photo, squashed to any shape.
        input_hw: Height and width of the photo, pixels.
        stride: Side of a cell, pixels; gh = ceil(height / stride), and the last cell may begin
            within the photo and end beyond it.

    Example:
        >>> maps = torch.arange(4.0).view(1, 1, 1, 4)
        >>> at_cells(maps, (4, 16), 4).flatten().tolist()
        [0.0, 1.0, 2.0, 3.0]
    """
    rows, columns = (
        (torch.arange(-(-side // stride), device=maps.device) + 0.5) * (2 * stride / side) - 1
        for side in input_hw
    )
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    grid = torch.stack([x, y], -1).to(maps.dtype).expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
