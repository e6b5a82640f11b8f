"""Dense features of image towers that end in attention pooling (SigLIP 2, Perception Encoder).

Such a tower has no class token that texts are compared with: a learnt query looks at all patches,
and its answer is projected. A patch by itself gets the answer to a query that sees nothing else.
"""

from __future__ import annotations

import copy
from typing import Any, cast

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from recoseg.encoders.attention.tower import Grid, to_map


def has_pooled_head(visual: nn.Module) -> bool:
    """Whether an image tower of open_clip is a ViT of timm that ends in attention pooling."""
    from open_clip.timm_model import TimmModel
    from timm.layers import AttentionPoolLatent
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(visual, TimmModel) or not isinstance(visual.trunk, Eva | VisionTransformer):
        return False
    pool, (height, width) = visual.trunk.attn_pool, visual.trunk.patch_embed.patch_size
    return isinstance(pool, AttentionPoolLatent) and pool.pos_embed is None and height == width


def pooled_values(visual: nn.Module, inputs: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d h w"]:
    """What the pooling would give if each patch were the only one: its value, then the head.

    With one patch to look at, the attention is 1 whatever the query, be it the learnt one or the
    patch itself. The head's own feed-forward layer and norms are kept, since they belong to every
    answer.

    Args:
        visual: An image tower for which `has_pooled_head` holds.
        inputs: Normalised photos; height and width are multiples of the patch.
    """
    tower = cast(Any, visual)
    trunk = tower.trunk
    size = trunk.patch_embed.patch_size[0]
    grid = (inputs.shape[2] // size, inputs.shape[3] // size)
    tokens: Tensor = at_grid(trunk, grid).forward_features(inputs)
    pool = trunk.attn_pool
    width = pool.kv.out_features // 2
    bias = None if pool.kv.bias is None else pool.kv.bias[width:]
    x = F.linear(tokens[:, trunk.num_prefix_tokens :], pool.kv.weight[width:], bias)
    x = pool.proj(x)
    if pool.mlp is not None:
        x = x + pool.mlp(pool.norm(x))
    x = trunk.head(trunk.fc_norm(x))
    return to_map(tower.head(x), grid)


def at_grid(trunk: Any, grid: Grid) -> Any:
    """A ViT of timm for photos of another size, which shares its weights with the one given.

    Learnt positions are resampled as timm does (bicubic, with antialias), and rotary ones are
    computed for the grid. At the native grid the ViT itself is returned.

    Args:
        trunk: The ViT (`VisionTransformer` or `Eva`).
        grid: (rows, columns) of the patches.
    """
    from timm.layers import resample_abs_pos_embed

    native = tuple(trunk.patch_embed.grid_size)
    if grid == native:
        return trunk
    other = copy.copy(trunk)
    patches = copy.copy(trunk.patch_embed)
    patches.strict_img_size = False
    other._modules = {**trunk._modules, "patch_embed": patches}
    if trunk.pos_embed is not None:
        table = resample_abs_pos_embed(
            trunk.pos_embed,
            new_size=list(grid),
            old_size=list(native),
            num_prefix_tokens=0 if trunk.no_embed_class else trunk.num_prefix_tokens,
        )
        other._parameters = {**trunk._parameters, "pos_embed": table}
    if getattr(trunk, "rope", None) is not None:
        rope = copy.deepcopy(trunk.rope)
        rope.update_feat_shape(list(grid))
        other._modules["rope"] = rope
    return other
