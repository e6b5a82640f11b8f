"""CLIP as the saliency encoder: one embedding per patch, in the space of its texts.

DenseCLIP (ResNets) and MaskCLIP (ViTs), Zhou et al., Extract Free Dense Labels from CLIP, ECCV
2022, section 3.2: of the last attention only the values and the output projection are kept, so
that every place keeps what it would have contributed to the pooled embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from recoseg.device import Compute
from recoseg.encoders.clip_model import LoadedClip
from recoseg.encoders.normalisation import to_input
from recoseg.encoders.protocols import EncoderInfo
from recoseg.encoders.weights import combine
from recoseg.errors import RecosegError

RESNET_STRIDE = 32

ValueMap = Callable[[nn.Module, Tensor], Tensor]
"""From an image tower and its input (n, 3, H, W) to patch embeddings (n, d, H/s, W/s)."""


def resnet_map(visual: nn.Module, inputs: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n c h w"]:
    """CLIP ResNet's last feature map, before the attention pool; stride 32."""
    x: Tensor = cast(Any, visual).stem(inputs)
    for layer in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
        x = cast(nn.Module, layer)(x)
    return x


def resnet_values(visual: nn.Module, inputs: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d h w"]:
    """The attention pool's value and output projections as 1 x 1 convolutions of the last map.

    No position embedding is added, so that any input size works alike.
    """
    pool: Any = visual.attnpool
    x = resnet_map(visual, inputs)
    x = F.conv2d(x, pool.v_proj.weight[..., None, None], pool.v_proj.bias)
    return F.conv2d(x, pool.c_proj.weight[..., None, None], pool.c_proj.bias)


def vit_values(visual: nn.Module, inputs: Float[Tensor, "n 3 H W"]) -> Float[Tensor, "n d h w"]:
    """The value path of the last block: value, output projection, last norm, projection.

    The last block's residual connection and feed-forward layer are left out, as the ResNets'
    attention pool has neither. (The authors' own code keeps both for ViTs.)
    """
    tower = cast(Any, visual)
    tokens, grid = _vit_tokens(tower, inputs)
    block = tower.transformer.resblocks[-1]
    values = _value_attention(block.attn, block.ln_1(tokens))
    embedded = tower.ln_post(block.ls_1(values)[:, 1:])
    if tower.proj is not None:
        embedded = embedded @ tower.proj
    return embedded.transpose(1, 2).reshape(embedded.shape[0], embedded.shape[2], *grid)


def resample_positions(
    positions: Float[Tensor, "tokens c"], native: tuple[int, int], grid: tuple[int, int]
) -> Float[Tensor, "new_tokens c"]:
    """Position embeddings of another grid, bicubically; the class token's is kept.

    Args:
        positions: Class token first, then the native grid row by row.
        native: (rows, columns) the model was trained with.
        grid: (rows, columns) wanted; the native ones give `positions` itself.
    """
    if grid == native:
        return positions
    plane = positions[1:].reshape(*native, -1).permute(2, 0, 1)[None].float()
    plane = F.interpolate(plane, size=grid, mode="bicubic", align_corners=False)
    patches = plane[0].permute(1, 2, 0).flatten(0, 1).to(positions.dtype)
    return torch.cat([positions[:1], patches])


def value_map(visual: nn.Module, name: str) -> tuple[ValueMap, int]:
    """The dense path of an image tower and its stride in pixels.

    Raises:
        RecosegError: The tower's last layer has no value path that leads to the texts' space.
    """
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    if isinstance(visual, ModifiedResNet):
        return resnet_values, RESNET_STRIDE
    if isinstance(visual, VisionTransformer) and visual.attn_pool is None:
        height, width = visual.patch_size
        block = visual.transformer.resblocks[-1]
        if height == width and isinstance(block, ResidualAttentionBlock):
            return vit_values, height
    raise RecosegError(
        f"{name} ({type(visual).__name__}) gives no dense text features: its image tower does "
        "not end in one attention whose values lead straight to the texts' space. Supported as "
        "saliency encoder: RN50, RN101, RN50x4, RN50x16, RN50x64, ViT-B/32, ViT-B/16, ViT-L/14, "
        "ViT-L/14@336px, and those of open_clip:ARCH/TAG with open_clip's own ViT without "
        "attentional pooling (ViT-B-16, ViT-L-14, ViT-H-14 of OpenAI, LAION, DataComp, MetaCLIP, "
        "DFN); SigLIP, CoCa, EVA, ConvNeXt and ViTamin serve for retrieval only."
    )


class DenseClipEncoder:
    """Patches and texts in the space of an open_clip model (a `DenseTextEncoder`).

    Args:
        clip: The model, which other encoders may share.
        compute: Device (the model's own) and precision.

    Raises:
        RecosegError: The model has no dense path.
    """

    def __init__(self, clip: LoadedClip, compute: Compute) -> None:
        self._clip = clip
        self._compute = compute
        self._values, self._stride = value_map(clip.visual, clip.name)

    @property
    def info(self) -> EncoderInfo:
        """Its identity."""
        clip = self._clip
        identity = combine(clip.fingerprint, self._values.__name__)
        return EncoderInfo(clip.name, clip.origin, identity, clip.dim, self._stride)

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d gh gw"]:
        """Patch embeddings, each L2-normalised; gh = ceil(h / stride), gw = ceil(w / stride)."""
        inputs = to_input(
            images,
            self._clip.statistics,
            self._compute,
            multiple=self._stride,
            channels_last=hasattr(self._clip.visual, "attnpool"),
        )
        with torch.no_grad(), self._compute.autocast():
            values = self._values(self._clip.visual, inputs)
        return F.normalize(values.float(), dim=1).contiguous()

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts as they stand, rows L2-normalised."""
        return self._clip.embed_texts(texts, self._compute)


def _vit_tokens(tower: Any, inputs: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """Tokens (n, 1 + patches, c) that enter the last block, and the grid (rows, columns)."""
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


def _value_attention(attention: nn.MultiheadAttention, x: Tensor) -> Tensor:
    """Attention in which every token attends to itself alone."""
    width = attention.embed_dim
    if attention.in_proj_weight is None:
        raise RecosegError("Expected an attention with one projection for query, key and value.")
    bias = None if attention.in_proj_bias is None else attention.in_proj_bias[2 * width :]
    values = F.linear(x, attention.in_proj_weight[2 * width :], bias)
    projected: Tensor = attention.out_proj(values)
    return projected
