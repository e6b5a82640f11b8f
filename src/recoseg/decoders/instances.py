"""Instances that a decoder finds: single things, each with its class, its score and its mask."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

MOST = 100
"""Instances of a photo that are kept, the best ones; as many as COCO's evaluation takes."""

OVERLAP = 0.5
"""Instances of a class whose masks overlap more (IoU) are one; several words often find it."""


class Instances(NamedTuple):
    """The instances of a photo, the best first.

    Attributes:
        classes: The class of each.
        scores: Its score, 0 to 1.
        masks: The probability that it covers each cell of a grid over the whole photo, fp16.
    """

    classes: Int[Tensor, " k"]
    scores: Float[Tensor, " k"]
    masks: Float[Tensor, "k a b"]


def none(grid_hw: tuple[int, int]) -> Instances:
    """No instances.

    Args:
        grid_hw: Size of the grid of masks (rows, columns).
    """
    return Instances(
        torch.zeros(0, dtype=torch.int64),
        torch.zeros(0),
        torch.zeros(0, *grid_hw, dtype=torch.float16),
    )


def best_of(found: Instances, most: int = MOST, overlap: float = OVERLAP) -> Instances:
    """The best instances, without those that a better one of their class covers.

    Args:
        found: The instances in any order.
        most: How many are kept.
        overlap: Instances of a class whose masks (probabilities above 0.5) have a larger
            intersection over union with a better one's are left out; so are empty masks.

    Example:
        >>> masks = torch.tensor([[[1, 1, 0.0]], [[1, 1, 1]], [[0, 0, 1]]]).half()
        >>> found = Instances(torch.tensor([2, 2, 2]), torch.tensor([0.5, 0.9, 0.7]), masks)
        >>> best_of(found).scores.tolist()
        [0.8999999761581421, 0.699999988079071]
    """
    order = torch.argsort(found.scores, descending=True, stable=True).tolist()
    covers = (found.masks > 0.5).flatten(1).float()
    areas = covers.sum(1)
    kept: list[int] = []
    for index in order:
        if len(kept) == most:
            break
        if areas[index] == 0:
            continue
        same = [other for other in kept if found.classes[other] == found.classes[index]]
        shared = covers[same] @ covers[index]
        if not bool((shared > overlap * (areas[same] + areas[index] - shared)).any()):
            kept.append(index)
    return Instances(found.classes[kept], found.scores[kept], found.masks[kept])
