"""Dense features from the last attention layer of CLIP's image towers.

Every function here is a pure function of a network and its normalised input. Each way to compute
features is a `FeatureRecipe` with an id of its own, which is part of the encoder's fingerprint.

`RESNET_VALUES` (DenseCLIP) and `VIT_VALUES` (MaskCLIP) are those of Zhou et al., Extract Free Dense
Labels from CLIP, ECCV 2022, section 3.2: of the last attention only the values and the output
projection are kept, so that each cell keeps what it would have added to the pooled embedding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from recoseg.errors import RecosegError

RESNET_STRIDE = 32


def resnet_map(
    visual: nn.Module, inputs: Float[Tensor, "n 3 H W"], stage: int = 4
) -> Float[Tensor, "n c h w"]:
    """The feature map of a CLIP ResNet after a stage, 1 to 4; stride 2 ** (stage + 1).

    The map of stage 4 is the input of the attention pool.
    """
    x: Tensor = cast(Any, visual).stem(inputs)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4)[:stage]:
        x = cast(nn.Module, layer)(x)
    return x


def resnet_values(visual: nn.Module, inputs: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d h w"]:
    """The attention pool's value and output projections as 1 x 1 convolutions of the last map.

    No position embedding is added, so that inputs of every size are treated alike.
    """
    pool: Any = visual.attnpool
    x = resnet_map(visual, inputs)
    x = F.conv2d(x, pool.v_proj.weight[..., None, None], pool.v_proj.bias)
    return F.conv2d(x, pool.c_proj.weight[..., None, None], pool.c_proj.bias)


def vit_values(visual: nn.Module, inputs: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d h w"]:
    """The value path of the last block: values, output projection, last norm, projection.

    The last block's residual connection and feed-forward layer are left out, because the attention
    pool of the ResNets has neither. (The authors' own code keeps both for ViTs.)
    """
    tower = cast(Any, visual)
    tokens, grid = vit_tokens(visual, inputs)
    block = tower.transformer.resblocks[-1]
    values = value_attention(block.attn, block.ln_1(tokens))
    embedded = tower.ln_post(block.ls_1(values)[:, 1:])
    if tower.proj is not None:
        embedded = embedded @ tower.proj
    return embedded.transpose(1, 2).reshape(embedded.shape[0], embedded.shape[2], *grid)


def vit_tokens(
    visual: nn.Module, inputs: Float[Tensor, "n 3 H W"]
) -> tuple[Float[Tensor, "n tokens c"], tuple[int, int]]:
    """The tokens that enter the last block of open_clip's ViT.

    Returns:
        The tokens, class token first, and the grid of patches as (rows, columns).
    """
    tower = cast(Any, visual)
    patches: Tensor = tower.conv1(inputs)
    grid = (patches.shape[2], patches.shape[3])
    x = patches.flatten(2).transpose(1, 2)
    x = torch.cat([tower.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1), x], dim=1)
    x = x + resample_positions(tower.positional_embedding, tower.grid_size, grid).to(x.dtype)
    x = tower.ln_pre(x)
    batch_first = tower.transformer.batch_first
    x = x if batch_first else x.transpose(0, 1)
    for block in tower.transformer.resblocks[:-1]:
        x = block(x)
    return (x if batch_first else x.transpose(0, 1)), grid


def value_attention(
    attention: nn.MultiheadAttention, tokens: Float[Tensor, "n t c"]
) -> Float[Tensor, "n t c"]:
    """The attention layer's output if every token attends only to itself.

    Raises:
        RecosegError: The layer has separate weights for queries, keys and values.
    """
    width = attention.embed_dim
    if attention.in_proj_weight is None:
        raise RecosegError(
            "Expected an attention layer with one weight for queries, keys and values."
        )
    bias = None if attention.in_proj_bias is None else attention.in_proj_bias[2 * width :]
    values = F.linear(tokens, attention.in_proj_weight[2 * width :], bias)
    projected: Tensor = attention.out_proj(values)
    return projected


def resample_positions(
    positions: Float[Tensor, "tokens c"], native: tuple[int, int], grid: tuple[int, int]
) -> Float[Tensor, "new_tokens c"]:
    """Resample position embeddings bicubically to another grid; that of the class token is kept.

    Args:
        positions: The class token's, then those of the native grid row by row.
        native: (rows, columns) that the model was trained with.
        grid: (rows, columns) to resample to; for the native grid `positions` itself is returned.
    """
    if grid == native:
        return positions
    plane = positions[1:].reshape(*native, -1).permute(2, 0, 1)[None].float()
    plane = F.interpolate(plane, size=grid, mode="bicubic", align_corners=False)
    patches = plane[0].permute(1, 2, 0).flatten(0, 1).to(positions.dtype)
    return torch.cat([positions[:1], patches])


@dataclass(frozen=True)
class FeatureRecipe:
    """A way to compute dense features from an image tower.

    Attributes:
        id: Part of the encoder's fingerprint. A published id never changes, whatever the function
            is called; another arithmetic gets a new one, such as `vit_values.2`.
        compute: From the tower and its normalised input (n, 3, H, W) to features (n, d, H / s,
            W / s), where s is the stride.
    """

    id: str
    compute: Callable[[nn.Module, Tensor], Tensor]


RESNET_VALUES = FeatureRecipe("resnet_values", resnet_values)
VIT_VALUES = FeatureRecipe("vit_values", vit_values)
