"""Attention within the regions of a photo, with a spatial and a semantic branch: CorrCLIP.

Source: Zhang et al., CorrCLIP, ICCV 2025.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from recoseg.encoders.attention.positions import Positions, by_size
from recoseg.encoders.attention.proxy import resize_values
from recoseg.encoders.attention.tower import (
    Grid,
    attend,
    block_of,
    depth,
    enter,
    heads,
    to_map,
    with_rest,
)
from recoseg.regions.protocol import NONE

SHARPNESS = 4.0
"""Factor of the cosines before the softmax."""


@dataclass(frozen=True)
class Branches:
    """The weights of the branches beside the main one, whose weight is 1.

    Attributes:
        spatial: Weight of the values of middle blocks.
        semantic: Weight of the class token of each region.
    """

    spatial: float = 1.0
    semantic: float = 0.5


BRANCHES = Branches()


def middle_blocks(count: int) -> range:
    """The blocks whose mean output is the spatial branch, counted from 0.

    Args:
        count: Number of blocks of the tower. The authors' numbers are for 12, 24 and 32 blocks;
            other towers take the same part of their depth.
    """
    known = {12: range(5, 10), 24: range(10, 22), 32: range(2, 30)}
    return known.get(count, range(round(count * 5 / 12), max(round(count * 10 / 12), 1)))


def region_attention(
    features: Float[Tensor, "p c"], regions: Int64[Tensor, p]
) -> Float[Tensor, "p p"]:
    """Softmax of cosines within regions.

    Patches of one region attend to each other. A patch that belongs to none, and any patch with it,
    attend to each other where their cosine is above the mean of all. Every patch attends to itself.

    Args:
        features: Features of the patches by another network.
        regions: The region of each patch, 0 for none.
    """
    unit = F.normalize(features, dim=-1)
    cosines = unit @ unit.T
    none = regions == NONE
    either = none[:, None] | none[None]
    allowed = torch.where(either, cosines > cosines.mean(), regions[:, None] == regions[None])
    allowed = allowed.fill_diagonal_(True)
    return (SHARPNESS * cosines).masked_fill(~allowed, -torch.inf).softmax(-1)


def merge_regions(
    features: Float[Tensor, "p c"], regions: Int64[Tensor, p], within: float = 0.2
) -> Int64[Tensor, p]:
    """Join regions that look alike, by single linkage of their mean features.

    The distance of two regions is the largest cosine of any two (or of one with itself) minus
    theirs. Regions at most `within` apart are joined, and so are chains of such regions. With fewer
    than three ids, "none" included, nothing is joined.

    Args:
        features: Features of the patches.
        regions: The region of each patch, 0 for none, which stays.
        within: Largest distance of joined regions.

    Returns:
        The joined region of each patch: 0 for none, else numbers from 1.
    """
    ids = [number for number in torch.unique(regions).tolist() if number != NONE]
    if len(torch.unique(regions)) <= 2:
        return regions
    means = torch.stack([features[regions == number].mean(0) for number in ids])
    unit = F.normalize(means, dim=-1)
    cosines = unit @ unit.T
    close = (cosines.max() - cosines) <= within
    joined, before = torch.arange(len(ids), device=regions.device), None
    while before is None or not torch.equal(joined, before):  # each takes the smallest number near
        before = joined
        joined = torch.where(close, joined[None], len(ids)).amin(1)
    merged = torch.zeros_like(regions)
    for number, group in zip(ids, joined.tolist(), strict=True):
        merged[regions == number] = group + 1
    return merged


def region_values(
    visual: nn.Module,
    inputs: Float[Tensor, "1 3 H W"],
    proxy: Float[Tensor, "1 c h w"],
    regions: Int64[Tensor, "rows columns"],
    *,
    merge: bool = False,
    branches: Branches = BRANCHES,
    positions: Positions = by_size,
) -> Float[Tensor, "1 d h w"]:
    """Features of one photo on the proxy's grid, mixed within its regions.

    Args:
        visual: A ViT of open_clip.
        inputs: The normalised photo.
        proxy: Features of another network for the photo, on any grid.
        regions: The region of each pixel, or of each cell of a coarser grid; 0 for none.
        merge: Whether regions that look alike are joined first, as the authors' first version does.
        branches: Weights of the branches.
        positions: How positions are resampled.
    """
    wanted: Grid = (proxy.shape[2], proxy.shape[3])
    features = proxy.flatten(2)[0].T
    fine = _nearest(regions, wanted).flatten()
    if merge:
        fine = merge_regions(F.normalize(features, dim=-1), fine)
    weights = region_attention(features, fine)[None, None]
    tokens, grid = enter(visual, inputs, positions)
    coarse = _nearest(fine.view(wanted), grid).flatten()
    outputs, copies = _with_copies(visual, tokens, coarse)
    plain, block = [x[:, : tokens.shape[1]] for x in outputs], block_of(visual)
    middle = middle_blocks(depth(visual))
    spatial = torch.stack([plain[number] for number in middle]).mean(0)

    def branch(x: Tensor) -> Tensor:
        values = resize_values(heads(block, x[:, 1:]).v, grid, wanted)
        return attend(block, weights, values)

    cells = _nearest(coarse.view(grid), wanted).flatten()
    of_region = copies[:, torch.searchsorted(torch.unique(coarse), cells)]
    ln_post: Any = cast(Any, visual).ln_post
    mixed = (
        ln_post(branch(plain[-2]))
        + branches.spatial * ln_post(branch(spatial))
        + branches.semantic * ln_post(of_region)
    )
    projected = mixed if cast(Any, visual).proj is None else mixed @ cast(Any, visual).proj
    return to_map(projected, wanted)


def _nearest(regions: Int64[Tensor, "h w"], grid: Grid) -> Int64[Tensor, "gh gw"]:
    resized = F.interpolate(regions[None, None].double(), grid, mode="nearest")
    return resized[0, 0].long()


def _with_copies(
    visual: nn.Module, tokens: Float[Tensor, "1 t c"], regions: Int64[Tensor, p]
) -> tuple[list[Float[Tensor, "1 all c"]], Float[Tensor, "1 r c"]]:
    """Run all blocks with a copy of the class token for each region, which sees its patches only.

    Returns:
        The outputs of the blocks, and the last block's copies in order of the regions' ids.
    """
    ids = torch.unique(regions)
    count = tokens.shape[1]
    x = torch.cat([tokens, tokens[:, :1].expand(-1, len(ids), -1)], dim=1)
    blocked = torch.zeros(x.shape[1], x.shape[1], dtype=torch.bool, device=x.device)
    blocked[:, count:] = True
    blocked[count:, 1:count] = regions[None] != ids[:, None]
    mask = torch.zeros_like(blocked, dtype=x.dtype).masked_fill(blocked, -torch.inf)
    outputs = []
    for block in cast(Any, visual).transformer.resblocks:
        found = heads(block, x)
        weights = (found.q @ found.k.transpose(-1, -2) * found.scale + mask).softmax(-1)
        mixed = attend(block, weights, found.v)
        x = with_rest(block, x, mixed)
        outputs.append(x)
    return outputs, outputs[-1][:, count:]
