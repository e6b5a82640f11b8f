"""Dense features of CLIP's ResNets: DenseCLIP's value path through the attention pool."""

from __future__ import annotations

from typing import Any, cast

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

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
