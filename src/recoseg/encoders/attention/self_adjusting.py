"""Self-adjusting features of SC-CLIP: outlier patches mended, attention from a middle layer.

Source: Bai et al., Self-Calibrated CLIP, 2024. The constants are the authors'; the numbers of
blocks are those for towers of 12 blocks.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from recoseg.cosegmentation.outliers import mend as mend_map
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
    to_map,
    to_tokens,
)
from recoseg.errors import RecosegError

NEIGHBOURS = 30
"""Nearest patches that decide whether one is an outlier."""
_QUANTILE = 0.95
_LEAST = 0.4
_CLASS_SHARE = 0.3
_SHARPNESS = 3.0
_ADJUST, _AFTER = 8, 3
_SUMMED = range(3, 10)


def self_adjusting(
    visual: nn.Module, inputs: Float[Tensor, "n 3 H W"], positions: Positions = by_size
) -> Float[Tensor, "n d h w"]:
    """Features with SC-CLIP's mended and self-adjusted last layer.

    Args:
        visual: A ViT of open_clip with 12 blocks.
        inputs: Normalised photos; height and width are multiples of the patch.
        positions: How positions are resampled.

    Raises:
        RecosegError: The tower has another number of blocks, or there are fewer than 31 patches.
    """
    if depth(visual) != 12:
        raise RecosegError(
            f"SC-CLIP's attention is defined for ViTs of 12 blocks; got {depth(visual)}."
        )
    tokens, grid = enter(visual, inputs, positions)
    if grid[0] * grid[1] <= NEIGHBOURS:
        raise RecosegError(
            f"SC-CLIP's attention needs more than {NEIGHBOURS} patches; got {grid[0]} x {grid[1]}."
        )
    outputs = run(visual, tokens, 0, -1)
    last, block = outputs[-1], block_of(visual)
    outlying = outliers(last[:, 1:])
    last_mended = mend(last[:, 1:], outlying, grid)
    alike = _cosines(mend(outputs[_ADJUST][:, 1:], outlying, grid))
    after = _cosines(outputs[_AFTER][:, 1:])

    def attended(patches: Tensor) -> Tensor:
        found = heads(block, patches)
        centred = _SHARPNESS * (alike - alike.mean(dim=(1, 2), keepdim=True))
        centred = centred.masked_fill(centred < 0, -torch.inf).softmax(-1)[:, None]
        return attend(block, (centred + similarity(found.k, found.k).softmax(-1)) / 2, found.v)

    first = attended(_aggregate(alike, last_mended)) + _CLASS_SHARE * last[:, :1]
    summed = torch.stack([outputs[number] for number in _SUMMED]).sum(0)
    second = attended(summed[:, 1:]) + _CLASS_SHARE * summed[:, :1]
    found = _aggregate(after, first) + _aggregate(after, second)
    return to_map(project(visual, found), grid)


def outliers(patches: Float[Tensor, "n p c"]) -> Bool[Tensor, "n p"]:
    """The patches of each photo that are far from their nearest others, compared with those.

    The density of a patch is the inverse of its squared distance to its 30th nearest other patch. A
    patch is an outlier if the mean density of its 30 nearest others, divided by its own, is above
    the 0.95 quantile of the photo's patches.
    """
    squared = (patches[:, :, None] - patches[:, None]).square().sum(-1)
    squared = squared.masked_fill(
        torch.eye(squared.shape[1], dtype=torch.bool, device=squared.device), torch.inf
    )
    nearest = squared.topk(NEIGHBOURS, largest=False)
    density = 1 / nearest.values[..., -1]
    around = density[:, None].expand_as(squared).gather(2, nearest.indices)
    score = around.mean(-1) / density
    return score > torch.quantile(score, _QUANTILE, dim=1, keepdim=True)


def mend(
    patches: Float[Tensor, "n p c"], outlying: Bool[Tensor, "n p"], grid: Grid
) -> Float[Tensor, "n p c"]:
    """Replace outliers by the mean of their sound neighbours; see `recoseg.cosegmentation`."""
    return to_tokens(mend_map(to_map(patches, grid), outlying.view(-1, *grid)))


def _cosines(patches: Tensor) -> Tensor:
    unit = F.normalize(patches, dim=-1)
    return unit @ unit.transpose(1, 2)


def _aggregate(alike: Float[Tensor, "n p p"], patches: Tensor) -> Tensor:
    """Means of the patches that are alike, weighted by how much they are."""
    weights = torch.where(alike >= _LEAST, alike, 0)
    return (weights @ patches) / (weights.sum(-1, keepdim=True) + 1e-6)
