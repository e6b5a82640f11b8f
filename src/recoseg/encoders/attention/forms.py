"""Forms of the last attention layer: whom each patch attends to.

| form | attention A, s = d ** -0.5 | after A v |
|---|---|---|
| `vit_values` | each patch itself (MaskCLIP's values, without what follows them) | reduced |
| `maskclip` | each patch itself | whole block |
| `sclip` | softmax(s q qT) + softmax(s k kT) | whole block |
| `naclip` | softmax(s k kT + Gaussian of the distance) | reduced |
| `clearclip` | softmax(s q qT) | reduced |
| `qq_kk` | softmax(s q qT) + softmax(s k kT) | reduced |
| `kk`, `vv` | softmax(s k kT), softmax(s v vT) | reduced |

"Reduced" is the output projection alone; "whole block" adds the residual connection and the
feed-forward layer. Sources: MaskCLIP (Zhou et al., ECCV 2022), SCLIP (Wang et al., ECCV 2024),
NACLIP (Hajimiri et al., WACV 2025), ClearCLIP (Lan et al., ECCV 2024).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from recoseg.encoders.attention.positions import Positions, by_size
from recoseg.encoders.attention.tower import (
    Grid,
    Heads,
    attend,
    before_last,
    block_of,
    heads,
    project,
    similarity,
    to_map,
    values_of,
    with_rest,
)

Attention = Callable[[Heads, Grid], Float[Tensor, "n heads tokens tokens"]]
"""From the heads of the last block and the grid of patches to the weights of its attention."""

GAUSSIAN_STD = 5.0
"""Standard deviation of NACLIP's Gaussian, cells."""


def vit_values(visual: nn.Module, inputs: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d h w"]:
    """The value path of the last block: values, output projection, last norm, projection.

    The last block's residual connection and feed-forward layer are left out, because the attention
    pool of the ResNets has neither. (The authors' own code keeps both for ViTs: `maskclip`.)
    """
    tokens, grid = before_last(visual, inputs)
    return to_map(project(visual, values_of(block_of(visual), tokens)[:, 1:]), grid)


def maskclip(
    visual: nn.Module, inputs: Float[Tensor, "n 3 H W"], positions: Positions = by_size
) -> Float[Tensor, "n d h w"]:
    """The values of the last block with its residual connection and feed-forward layer."""
    tokens, grid = before_last(visual, inputs, positions)
    block = block_of(visual)
    mixed = with_rest(block, tokens, values_of(block, tokens))
    return to_map(project(visual, mixed[:, 1:]), grid)


def last_attention(
    visual: nn.Module,
    inputs: Float[Tensor, "n 3 H W"],
    attention: Attention,
    *,
    whole: bool = False,
    positions: Positions = by_size,
) -> Float[Tensor, "n d h w"]:
    """Features with another attention in the last block.

    Args:
        visual: A ViT of open_clip.
        inputs: Normalised photos; height and width are multiples of the patch.
        attention: Whom each token attends to, the class token included.
        whole: Whether the residual connection and the feed-forward layer are kept.
        positions: How positions are resampled.
    """
    tokens, grid = before_last(visual, inputs, positions)
    block = block_of(visual)
    found = heads(block, tokens)
    mixed = attend(block, attention(found, grid), found.v)
    if whole:
        mixed = with_rest(block, tokens, mixed)
    return to_map(project(visual, mixed[:, 1:]), grid)


def qq(found: Heads, grid: Grid) -> Float[Tensor, "n heads t t"]:
    """Softmax of products of queries (ClearCLIP)."""
    return similarity(found.q, found.q).softmax(-1)


def kk(found: Heads, grid: Grid) -> Float[Tensor, "n heads t t"]:
    """Softmax of products of keys."""
    return similarity(found.k, found.k).softmax(-1)


def vv(found: Heads, grid: Grid) -> Float[Tensor, "n heads t t"]:
    """Softmax of products of values."""
    return similarity(found.v, found.v).softmax(-1)


def qq_kk(found: Heads, grid: Grid) -> Float[Tensor, "n heads t t"]:
    """The sum of `qq` and `kk` (SCLIP); rows add up to 2."""
    return qq(found, grid) + kk(found, grid)


def neighbours(found: Heads, grid: Grid) -> Float[Tensor, "n heads t t"]:
    """Softmax of products of keys plus a Gaussian of the distance (NACLIP)."""
    near = gaussian_window(grid, GAUSSIAN_STD).to(found.k)
    return (similarity(found.k, found.k) + near).softmax(-1)


def gaussian_window(grid: Grid, std: float) -> Float[Tensor, "tokens tokens"]:
    """exp(-distance ** 2 / (2 std ** 2)) between patches, in cells; 0 for the class token."""
    rows, columns = torch.meshgrid(*(torch.arange(size) for size in grid), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], dim=1).float()
    squared = (places[:, None] - places[None]).square().sum(-1)
    window = torch.zeros(len(places) + 1, len(places) + 1)
    window[1:, 1:] = torch.exp(-squared / (2 * std**2))
    return window
