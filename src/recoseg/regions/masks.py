"""Masks and label maps as regions: none is 0, the others are numbered from 1 without gaps."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Int, Int32
from torch import Tensor

from recoseg.regions.protocol import NONE


def paint(masks: Bool[Tensor, "n h w"]) -> Int32[Tensor, "h w"]:
    """Regions of masks that may overlap: the smallest mask that holds a pixel is its region.

    Of masks of equal area the later one counts. Masks that nothing is left of have no region, so
    the numbers follow the order of the other masks.

    Example:
        >>> masks = torch.tensor([[[True, True, True]], [[False, True, False]]])
        >>> paint(masks).tolist()
        [[1, 2, 1]]
    """
    areas = masks.flatten(1).sum(1).tolist()
    return paint_each(areas, lambda number: masks[number], (masks.shape[1], masks.shape[2]))


def paint_each(
    areas: Sequence[int], mask: Callable[[int], Bool[Tensor, "h w"]], size: tuple[int, int]
) -> Int32[Tensor, "h w"]:
    """`paint` of masks that are made one by one, so that they need not be in memory together.

    Args:
        areas: The pixels of each mask.
        mask: Gives the mask of a number from 0.
        size: Size of the masks (rows, columns).
    """
    labels = torch.zeros(size, dtype=torch.int32)
    for number in sorted(range(len(areas)), key=lambda number: -areas[number]):
        own = mask(number)
        labels = labels.to(own.device).masked_fill_(own, number + 1)
    return relabel(labels)


def relabel(labels: Int[Tensor, "h w"]) -> Int32[Tensor, "h w"]:
    """Number regions from 1 without gaps, in the order of their labels; 0 stays none.

    Example:
        >>> relabel(torch.tensor([[7, 0, 300, 7]])).tolist()
        [[1, 0, 2, 1]]
    """
    if labels.numel() and int(labels.min()) >= 0 and int(labels.max()) <= labels.numel():
        is_used = torch.bincount(labels.flatten()) > 0  # of few numbers, which need no sorting
        is_used[NONE] = False
        return (is_used.cumsum(0) * is_used).to(torch.int32)[labels]
    found, places = torch.unique(labels, return_inverse=True)
    numbers = (found != NONE).cumsum(0) * (found != NONE)
    return numbers[places].to(torch.int32)


def drop_small(labels: Int32[Tensor, "h w"], least: int) -> Int32[Tensor, "h w"]:
    """Turn regions of fewer than `least` pixels into none, and number the others again."""
    sizes = torch.bincount(labels.flatten())
    return relabel(torch.where(sizes[labels.long()] < least, NONE, labels))


def resize_labels(labels: Int32[Tensor, "a b"], size: tuple[int, int]) -> Int32[Tensor, "h w"]:
    """Bring a label map to another size (rows, columns): each pixel takes the nearest label.

    Regions that no pixel is nearest to are lost, and their numbers with them; see `relabel`.
    """
    rows, columns = (
        ((torch.arange(new, device=labels.device) + 0.5) * (old / new)).long().clamp(max=old - 1)
        for old, new in zip(labels.shape, size, strict=True)
    )
    return labels[rows[:, None], columns]
