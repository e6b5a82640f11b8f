"""Weighted sums over the neighbours of each pixel, for all classes at once.

A step is the product of a sparse matrix (one number per pixel and neighbour) with the score maps.
It is computed by `embedding_bag` on maps with the classes in the last dimension: the weights of a
pixel are read once for all classes, sums stay in registers, and no neighbour is copied.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32
from torch import Tensor

Offset = tuple[int, int]
"""From a pixel to a neighbour: rows down, columns to the right."""

_STRIP_PIXELS = {"cpu": 4096}  # pixels per call of `embedding_bag`, few enough for the cache
_STRIP_PIXELS_ELSEWHERE = 1 << 18


def strip_indices(
    height: int, width: int, offsets: Sequence[Offset], device: torch.device
) -> Int32[Tensor, "rows w k"]:
    """Indices of the neighbours in a strip with a margin of rows above and below.

    They are the same for all strips, counted in pixels from the first row of the margin. Columns
    beyond the border are those at the border.
    """
    margin = rows_beyond(offsets)
    pixels = _STRIP_PIXELS.get(device.type, _STRIP_PIXELS_ELSEWHERE)
    rows = min(height, max(1, pixels // width))
    y = torch.arange(rows, device=device)[:, None] + margin
    x = torch.arange(width, device=device)
    places = [(y + dy) * width + (x + dx).clamp(0, width - 1) for dy, dx in offsets]
    return torch.stack(places, -1).int()


def rows_beyond(offsets: Sequence[Offset]) -> int:
    """How many rows above and below a pixel its neighbours reach."""
    return max(abs(dy) for dy, _ in offsets)


def neighbour_sums(
    padded: Float[Tensor, "hp w c"],
    weights: Float[Tensor, "h w k"],
    indices: Int32[Tensor, "rows w k"],
    out: Float[Tensor, "h w c"],
) -> None:
    """Weighted sums of the neighbours of each pixel, strip by strip.

    Args:
        padded: Maps with a margin of rows above and below.
        weights: Weight of each neighbour.
        indices: Of `strip_indices`.
        out: Gets the sums.
    """
    height, width, classes = out.shape
    rows, _, k = indices.shape
    margin = (len(padded) - height) // 2
    for start in range(0, height, rows):
        end = min(start + rows, height)
        sums = F.embedding_bag(
            indices[: end - start].view(-1, k),
            padded[start : end + 2 * margin].view(-1, classes),
            mode="sum",
            per_sample_weights=weights[start:end].view(-1, k),
        )
        out[start:end] = sums.view(-1, width, classes)
