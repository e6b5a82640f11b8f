"""Attention from another network's features: ProxyCLIP, and Trident's two steps.

Sources: Lan et al., ProxyCLIP, ECCV 2024; Shi et al., Trident, ICCV 2025.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from recoseg.encoders.attention.positions import Positions, by_size
from recoseg.encoders.attention.tower import (
    Grid,
    attend,
    before_last,
    block_of,
    heads,
    project,
    to_map,
    to_tokens,
)

OFFSET, SHARPNESS = 1.2, 3.0


def proxy_attention(
    proxy: Float[Tensor, "n c h w"], offset: float = OFFSET, sharpness: float = SHARPNESS
) -> Float[Tensor, "n 1 p p"]:
    """Softmax of cosines of features, above a multiple of their mean.

    Every patch attends to itself, so that a photo whose patches are all alike has weights, too.

    Args:
        proxy: Features of the other network. The mean is taken over all of them, so pass one photo
            at a time unless several belong together.
        offset: Cosines below this multiple of the mean get no weight.
        sharpness: Factor of the cosines.
    """
    unit = F.normalize(to_tokens(proxy), dim=-1)
    cosines = unit @ unit.transpose(1, 2)
    centred = sharpness * (cosines - offset * cosines.mean())
    itself = torch.eye(centred.shape[-1], dtype=torch.bool, device=centred.device)
    return centred.masked_fill((centred < 0) & ~itself, -torch.inf).softmax(-1)[:, None]


def proxy_values(
    visual: nn.Module,
    inputs: Float[Tensor, "n 3 H W"],
    proxy: Float[Tensor, "n c h w"],
    positions: Positions = by_size,
) -> Float[Tensor, "n d h w"]:
    """Features on the proxy's grid: CLIP's values, bilinear to that grid, mixed by its attention.

    Each photo has its own mean cosine. (The authors' code transposes grids that are not square.)

    Args:
        visual: A ViT of open_clip.
        inputs: Normalised photos for CLIP.
        proxy: Features of the other network for the same photos, on any grid.
        positions: How positions are resampled.
    """
    tokens, grid = before_last(visual, inputs, positions)
    weights = torch.cat([proxy_attention(item[None]) for item in proxy])
    block = block_of(visual)
    values = resize_values(heads(block, tokens).v[:, :, 1:], grid, _grid(proxy))
    return to_map(project(visual, attend(block, weights, values)), _grid(proxy))


def resize_values(
    values: Float[Tensor, "n heads p d"], grid: Grid, wanted: Grid
) -> Float[Tensor, "n heads q d"]:
    """Values of patches, bilinear to another grid."""
    if grid == wanted:
        return values
    n, count, _, d = values.shape
    maps = values.transpose(2, 3).reshape(n, count * d, *grid)
    maps = F.interpolate(maps, wanted, mode="bilinear", align_corners=False)
    return maps.reshape(n, count, d, -1).transpose(2, 3)


def _grid(features: Tensor) -> Grid:
    return features.shape[2], features.shape[3]


def window_values(
    visual: nn.Module,
    inputs: Float[Tensor, "n 3 H W"],
    proxy: Float[Tensor, "n c h w"],
    positions: Positions = by_size,
) -> Float[Tensor, "n width h w"]:
    """Trident's first step: windows of one photo, mixed by the proxy's attention, not projected.

    The mean cosine is that of all windows. The class token does not enter the last block.

    Args:
        visual: A ViT of open_clip.
        inputs: The normalised windows of one photo.
        proxy: Features of the other network for the windows, on CLIP's grid.
        positions: How positions are resampled.
    """
    tokens, grid = before_last(visual, inputs, positions)
    block = block_of(visual)
    values = resize_values(heads(block, tokens[:, 1:]).v, grid, _grid(proxy))
    return to_map(attend(block, proxy_attention(proxy), values), _grid(proxy))


def paste(
    windows: Float[Tensor, "n c h w"], places: Sequence[tuple[int, int]], grid: Grid
) -> Float[Tensor, "1 c H W"]:
    """Put windows together, with means where they overlap.

    Args:
        windows: Features of the windows.
        places: (row, column) of the first cell of each.
        grid: (rows, columns) of the whole.
    """
    total = windows.new_zeros(1, windows.shape[1], *grid)
    count = windows.new_zeros(1, 1, *grid)
    height, width = _grid(windows)
    for window, (top, left) in zip(windows, places, strict=True):
        total[0, :, top : top + height, left : left + width] += window
        count[..., top : top + height, left : left + width] += 1
    return total / count


def global_attention(
    attention: Float[Tensor, "heads p p"],
    values: Float[Tensor, "heads p d"],
    *,
    factor: float = 1.2,
    lift_negative: bool = True,
) -> Float[Tensor, "p p"]:
    """Trident's second step: the attention of SAM's last block where its values are alike.

    Args:
        attention: Softmax weights of the patches of the whole photo, relative positions included.
        values: Values of these patches.
        factor: Threshold, as a multiple of each patch's mean cosine of values over all heads and
            patches.
        lift_negative: Leave negative thresholds as they are; otherwise they become 0.6.

    Returns:
        Weights; rows add up to 1.
    """
    unit = F.normalize(values, dim=-1)
    cosines = unit @ unit.transpose(1, 2)
    threshold = factor * cosines.mean(dim=(0, 2))
    if not lift_negative:
        threshold = torch.where(threshold < 0, 0.6, threshold)
    threshold = threshold.clamp(max=0.9)
    kept = torch.where(cosines > threshold[None, :, None], attention, 0).mean(0)
    return kept / kept.sum(-1, keepdim=True)


def global_features(
    visual: nn.Module,
    mixed: Float[Tensor, "1 width h w"],
    weights: Float[Tensor, "p p"],
    grid: Grid,
) -> Float[Tensor, "1 d gh gw"]:
    """Features of the whole photo, from the pasted windows and the global attention.

    Args:
        visual: A ViT of open_clip.
        mixed: The pasted result of `window_values`.
        weights: Attention between the patches of `grid`.
        grid: (rows, columns) of the patches of the global attention.
    """
    resized = F.interpolate(mixed, grid, mode="bilinear", align_corners=False)
    return to_map(project(visual, weights @ to_tokens(resized)), grid)
