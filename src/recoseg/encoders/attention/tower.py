"""The parts of open_clip's ViT, one by one: tokens, blocks, heads, attention, projection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from recoseg.encoders.attention.positions import Positions, by_size
from recoseg.errors import RecosegError

Grid = tuple[int, int]
"""(rows, columns) of the patches."""


def enter(
    visual: nn.Module, inputs: Float[Tensor, "n 3 H W"], positions: Positions = by_size
) -> tuple[Float[Tensor, "n tokens c"], Grid]:
    """The tokens that enter the first block, class token first, and the grid of patches."""
    tower = cast(Any, visual)
    patches: Tensor = tower.conv1(inputs)
    grid = (patches.shape[2], patches.shape[3])
    x = patches.flatten(2).transpose(1, 2)
    x = torch.cat([tower.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1), x], dim=1)
    x = x + positions(tower.positional_embedding, tower.grid_size, grid).to(x.dtype)
    return tower.ln_pre(x), grid


def run(
    visual: nn.Module, tokens: Float[Tensor, "n tokens c"], first: int = 0, stop: int | None = None
) -> list[Float[Tensor, "n tokens c"]]:
    """The outputs of the blocks from `first` to before `stop` (None: to the last), in order.

    The numbers are those of a slice of the tower's blocks.
    """
    tower = cast(Any, visual)
    batch_first = tower.transformer.batch_first
    x = tokens if batch_first else tokens.transpose(0, 1)
    outputs = []
    for block in list(tower.transformer.resblocks)[first:stop]:
        x = block(x)
        outputs.append(x if batch_first else x.transpose(0, 1))
    return outputs


def before_last(
    visual: nn.Module, inputs: Float[Tensor, "n 3 H W"], positions: Positions = by_size
) -> tuple[Float[Tensor, "n tokens c"], Grid]:
    """The tokens that enter the last block, class token first, and the grid of patches."""
    tokens, grid = enter(visual, inputs, positions)
    return run(visual, tokens, 0, -1)[-1] if depth(visual) > 1 else tokens, grid


def depth(visual: nn.Module) -> int:
    """Number of blocks."""
    return len(cast(Any, visual).transformer.resblocks)


def block_of(visual: nn.Module, number: int = -1) -> Any:
    """A block of the tower; the last one by default."""
    return cast(Any, visual).transformer.resblocks[number]


@dataclass(frozen=True, eq=False)
class Heads:
    """Queries, keys and values of a block, each (n, heads, tokens, c / heads).

    Attributes:
        q: Queries.
        k: Keys.
        v: Values.
    """

    q: Float[Tensor, "n heads tokens d"]
    k: Float[Tensor, "n heads tokens d"]
    v: Float[Tensor, "n heads tokens d"]

    @property
    def scale(self) -> float:
        """What products of queries and keys are multiplied by: d ** -0.5."""
        return float(self.q.shape[-1] ** -0.5)


def heads(block: Any, tokens: Float[Tensor, "n tokens c"]) -> Heads:
    """Queries, keys and values of tokens before the block's first norm.

    Raises:
        RecosegError: The layer has separate weights for queries, keys and values.
    """
    attention, weight = _attention_of(block)
    joint = F.linear(block.ln_1(tokens), weight, attention.in_proj_bias)
    n, count, _ = tokens.shape
    q, k, v = joint.view(n, count, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)
    return Heads(q, k, v)


def similarity(
    left: Float[Tensor, "n heads a d"], right: Float[Tensor, "n heads b d"]
) -> Float[Tensor, "n heads a b"]:
    """Products of queries or keys, scaled as in the attention layer."""
    return left @ right.transpose(-1, -2) * left.shape[-1] ** -0.5


def attend(
    block: Any,
    weights: Float[Tensor, "n _ a b"],
    values: Float[Tensor, "n heads b d"],
) -> Float[Tensor, "n a c"]:
    """Weighted sums of the values, and the layer's output projection.

    Args:
        block: The block.
        weights: For each head, or one for all heads.
        values: The values of each head.
    """
    joined = (weights @ values).transpose(1, 2).flatten(2)
    projected: Tensor = block.attn.out_proj(joined)
    return block.ls_1(projected)


def values_of(block: Any, tokens: Float[Tensor, "n t c"]) -> Float[Tensor, "n t c"]:
    """The attention layer's output if every token attends only to itself.

    Raises:
        RecosegError: The layer has separate weights for queries, keys and values.
    """
    attention, weight = _attention_of(block)
    width = attention.embed_dim
    bias = None if attention.in_proj_bias is None else attention.in_proj_bias[2 * width :]
    values = F.linear(block.ln_1(tokens), weight[2 * width :], bias)
    projected: Tensor = attention.out_proj(values)
    return block.ls_1(projected)


def _attention_of(block: Any) -> tuple[nn.MultiheadAttention, Float[Tensor, "c3 c"]]:
    """The attention layer of a block, and its weight for queries, keys and values together."""
    attention: nn.MultiheadAttention = block.attn
    if attention.in_proj_weight is None:
        raise RecosegError(
            "Expected an attention layer with one weight for queries, keys and values."
        )
    return attention, attention.in_proj_weight


def with_rest(
    block: Any, tokens: Float[Tensor, "n t c"], attended: Float[Tensor, "n t c"]
) -> Float[Tensor, "n t c"]:
    """The block's output for another result of its attention: residual and feed-forward."""
    x = tokens + attended
    out: Tensor = x + block.ls_2(block.mlp(block.ln_2(x)))
    return out


def project(visual: nn.Module, tokens: Float[Tensor, "n t c"]) -> Float[Tensor, "n t d"]:
    """The tower's last norm and its projection into the space of texts."""
    tower = cast(Any, visual)
    embedded: Tensor = tower.ln_post(tokens)
    return embedded if tower.proj is None else embedded @ tower.proj


def to_map(tokens: Float[Tensor, "n p d"], grid: Grid) -> Float[Tensor, "n d h w"]:
    """Patches (without the class token) as a map."""
    return tokens.transpose(1, 2).reshape(tokens.shape[0], tokens.shape[2], *grid)


def to_tokens(features: Float[Tensor, "n d h w"]) -> Float[Tensor, "n p d"]:
    """A map as patches, row by row."""
    return features.flatten(2).transpose(1, 2)
