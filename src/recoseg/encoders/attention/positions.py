"""Position embeddings at other grids than the one that a ViT was trained with."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Positions = Callable[
    [Float[Tensor, "tokens c"], tuple[int, int], tuple[int, int]], Float[Tensor, "new_tokens c"]
]
"""From the table of a model, its native grid and a new grid, both (rows, columns), to the table of
the new grid. The class token's embedding is kept."""


def by_size(
    positions: Float[Tensor, "tokens c"],
    native: tuple[int, int],
    grid: tuple[int, int],
    prefix: int = 1,
) -> Float[Tensor, "new_tokens c"]:
    """Resample bicubically to the new grid, without antialias; the default.

    For the native grid `positions` itself is returned.

    Args:
        positions: The table of a model.
        native: The grid that the model was trained with.
        grid: The new grid.
        prefix: Number of tokens before the patches, whose embeddings are kept.
    """
    if grid == native:
        return positions
    plane = _plane(positions[prefix:], native)
    return _table(
        positions[:prefix], F.interpolate(plane, grid, mode="bicubic", align_corners=False)
    )


def by_scale_factor(
    positions: Float[Tensor, "tokens c"], native: tuple[int, int], grid: tuple[int, int]
) -> Float[Tensor, "new_tokens c"]:
    """Resample as the code of SCLIP and of those that follow it.

    The sampling step is that of a grid which is 0.1 cells longer, so the result differs from
    `by_size` more and more towards the lower right. A grid with as many cells as the native one
    takes the native table as it is, also if its shape differs.
    """
    if math.prod(grid) == math.prod(native):
        return positions
    factors = ((grid[0] + 0.1) / native[0], (grid[1] + 0.1) / native[1])
    plane = F.interpolate(
        _plane(positions[1:], native), scale_factor=factors, mode="bicubic", align_corners=False
    )
    return _table(positions[:1], plane)


def bilinear_in_half(
    positions: Float[Tensor, "tokens c"], native: tuple[int, int], grid: tuple[int, int]
) -> Float[Tensor, "new_tokens c"]:
    """Resample bilinearly and round to half precision, as the code of CLIPer; never left out."""
    plane = _plane(positions[1:], native)
    plane = F.interpolate(plane, grid, mode="bilinear", align_corners=False)
    return _table(positions[:1], plane).half().to(positions.dtype)


def _plane(patches: Tensor, native: tuple[int, int]) -> Tensor:
    return patches.reshape(*native, -1).permute(2, 0, 1)[None].float()


def _table(prefix: Tensor, plane: Tensor) -> Tensor:
    patches = plane[0].permute(1, 2, 0).flatten(0, 1).to(prefix.dtype)
    return torch.cat([prefix, patches])
