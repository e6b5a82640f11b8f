"""From features and label maps to the keys and values of regions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, Int64
from torch import Tensor

from recoseg.regions.pooling import region_means, region_weights
from recoseg.regions.protocol import NONE

FEWEST_PATCHES = 4
"""Regions of fewer patches are left out: their mean says little more than a patch."""


def without_small(
    labels: Int32[Tensor, "rh rw"], patches: int, fewest: float = FEWEST_PATCHES
) -> Int32[Tensor, "rh rw"]:
    """Leave out small regions and number the others anew, from 1 without gaps.

    Args:
        labels: The region of each place, 0 for none.
        patches: Number of patches of the whole map.
        fewest: Number of patches that a region must have at least.

    Example:
        >>> without_small(torch.tensor([[1, 2, 2], [0, 3, 3]], dtype=torch.int32), 6, 2)
        tensor([[0, 1, 1],
                [0, 2, 2]], dtype=torch.int32)
    """
    areas = labels.flatten().long().bincount(minlength=1)
    # In whole numbers, so that a region of exactly `fewest` patches is kept.
    kept = areas * patches >= fewest * labels.numel()
    kept[NONE] = False
    numbers: Tensor = (kept.cumsum(0) * kept).int()
    return numbers[labels.long()]


def shapes(
    labels: Int32[Tensor, "rh rw"],
) -> tuple[Float[Tensor, " r"], Float[Tensor, "r 4"]]:
    """Area and bounding box of each region.

    Args:
        labels: Regions from 1 without gaps, 0 for none.

    Returns:
        The fraction of the map that each region takes; and top, left, bottom and right of the box
        around it, as fractions of the map's sides.
    """
    count = int(labels.max()) if labels.numel() else 0
    flat = labels.flatten().long()
    areas = flat.bincount(minlength=count + 1)[1:].float() / max(labels.numel(), 1)
    height, width = labels.shape
    edges = []
    for size, at in (
        (height, torch.arange(height).repeat_interleave(width)),
        (width, torch.arange(width).repeat(height)),
    ):
        low = torch.full((count + 1,), size).scatter_reduce_(0, flat, at, "amin")[1:]
        high = torch.zeros(count + 1, dtype=torch.int64).scatter_reduce_(0, flat, at + 1, "amax")
        edges.append((low.float() / size, high[1:].float() / size))
    (top, bottom), (left, right) = edges
    return areas, torch.stack([top, left, bottom, right], 1)


class Pooling:
    """Pools features of several photos over their regions.

    Args:
        labels: Regions of each photo, from 1 without gaps, 0 for none; at any size of the photo.
        size: Side of the encoders' input, pixels.
    """

    def __init__(self, labels: Sequence[Int32[Tensor, "_ _"]], size: int) -> None:
        self._labels = labels
        self._size = size
        self._weights: dict[tuple[int, int, int], list[Tensor]] = {}

    def __call__(self, features: Float[Tensor, "n C gh gw"], stride: int) -> Float[Tensor, "r C"]:
        """The unit mean of the unit features of each region.

        Where the regions lie on the grid of the features, each cell counts once; otherwise the
        features are up-sampled to the regions, see `recoseg.regions.pooling`.

        Args:
            features: Features of the photos; they need not be unit.
            stride: Pixels per cell.

        Returns:
            One unit row per region, the regions of all photos in order, fp32 on the device of the
            features.
        """
        height, width = features.shape[2:]
        if all(tuple(one.shape) == (height, width) for one in self._labels):
            return means_by_cells(features, self._labels)
        place = (height, width, stride)
        if place not in self._weights:
            whole = (self._size, self._size)
            self._weights[place] = [
                region_weights(one.to(features.device), (height, width), stride, whole)
                for one in self._labels
            ]
        pairs = zip(features, self._weights[place], strict=True)
        return torch.cat([region_means(one, weights, unit=True) for one, weights in pairs])


def means_by_cells(
    features: Float[Tensor, "n C gh gw"], labels: Sequence[Int32[Tensor, "gh gw"]]
) -> Float[Tensor, "r C"]:
    """The unit mean of the unit features of each region, where regions lie on their grid.

    Args:
        features: Features of the photos; they need not be unit.
        labels: Regions of each photo, from 1 without gaps, 0 for none.

    Returns:
        One unit row per region, the regions of all photos in order, fp32.
    """
    unit = F.normalize(features.float(), dim=1).permute(0, 2, 3, 1).flatten(0, 2)
    region, count = numbered(labels)
    sums = unit.new_zeros(count + 1, unit.shape[1])
    sums.index_add_(0, region.to(unit.device), unit)
    return F.normalize(sums[1:], dim=1)


def numbered(labels: Sequence[Int32[Tensor, "_ _"]]) -> tuple[Int64[Tensor, " p"], int]:
    """The region of each place, numbered through all photos from 1, and the number of regions."""
    parts, count = [], 0
    for one in labels:
        flat = one.flatten().long()
        parts.append(torch.where(flat == NONE, NONE, flat + count))
        count += int(flat.max()) if len(flat) else 0
    return torch.cat(parts), count
