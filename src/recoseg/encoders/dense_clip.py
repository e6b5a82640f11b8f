"""CLIP as the saliency encoder: one embedding per patch, comparable with those of texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from recoseg.device import Compute
from recoseg.encoders.attention.pooled_head import has_pooled_head
from recoseg.encoders.attention.recipes import (
    POOLED_VALUES,
    RESNET_VALUES,
    VIT_RECIPES,
    FeatureRecipe,
)
from recoseg.encoders.attention.resnet import RESNET_STRIDE
from recoseg.encoders.clip_model import LoadedClip
from recoseg.encoders.normalisation import to_input
from recoseg.encoders.protocols import EncoderInfo
from recoseg.encoders.weights import combine
from recoseg.errors import RecosegError, UnknownNameError

DEFAULT_FORM = "values"
"""The form of ViTs whose name does not say one."""


def choose_recipe(
    visual: nn.Module, name: str, form: str = DEFAULT_FORM
) -> tuple[FeatureRecipe, int]:
    """How dense text features are computed with an image tower, and their stride in pixels.

    Args:
        visual: The image tower of an open_clip model.
        name: The encoder's name, for error messages.
        form: The form of the last attention layer; see `VIT_RECIPES`.

    Raises:
        UnknownNameError: A ViT has no such form.
        RecosegError: The tower's last layer has no values that can be compared with texts, or the
            tower is one that has one form only.
    """
    from open_clip.modified_resnet import ModifiedResNet
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    if isinstance(visual, ModifiedResNet) or has_pooled_head(visual):
        if form != DEFAULT_FORM:
            raise RecosegError(
                f"{name} has no form {form!r}: only ViTs with a class token have several forms of "
                "the last attention layer. Leave it out."
            )
        if isinstance(visual, ModifiedResNet):
            return RESNET_VALUES, RESNET_STRIDE
        return POOLED_VALUES, cast(Any, visual).trunk.patch_embed.patch_size[0]
    if isinstance(visual, VisionTransformer) and visual.attn_pool is None:
        height, width = visual.patch_size
        block = visual.transformer.resblocks[-1]
        if height == width and isinstance(block, ResidualAttentionBlock):
            if form not in VIT_RECIPES:
                raise UnknownNameError(
                    f"form of the last attention layer of {name}", form, list(VIT_RECIPES)
                )
            return VIT_RECIPES[form], height
    raise RecosegError(
        f"{name} ({type(visual).__name__}) cannot be a saliency encoder: its image tower does not "
        "end in a single attention layer whose values can be compared with texts. Supported are "
        "those that `recoseg encoders` lists with the role saliency, and the models of "
        "open_clip:ARCH/TAG with open_clip's own ViT without attentional pooling (ViT-B-16, "
        "ViT-L-14, ViT-H-14 of OpenAI, LAION, DataComp, MetaCLIP, DFN) or with a ViT of timm that "
        "ends in attention pooling (SigLIP, SigLIP 2, PE-Core). CoCa, EVA, ConvNeXt, MobileCLIP "
        "and ViTamin can be used for retrieval only."
    )


class DenseClipEncoder:
    """Embeds patches and texts with an open_clip model (a `DenseTextEncoder`).

    Args:
        clip: The model, which other encoders may share.
        compute: Device (that of the model) and precision.
        form: The form of the last attention layer of a ViT, which becomes a part of the encoder's
            name; see `VIT_RECIPES`. Empty for the default.

    Raises:
        UnknownNameError: There is no such form.
        RecosegError: The model has no dense text features (see `choose_recipe`), or the form needs
            those of another encoder.
    """

    def __init__(self, clip: LoadedClip, compute: Compute, form: str = "") -> None:
        self._clip = clip
        self._compute = compute
        self._recipe, stride = choose_recipe(clip.visual, clip.name, form or DEFAULT_FORM)
        if self._recipe.needs_features:
            raise RecosegError(
                f"The form {form!r} needs the features of another encoder; use a ProxyClipEncoder."
            )
        self.info = EncoderInfo(
            f"{clip.name}/{form}" if form else clip.name,
            clip.origin,
            combine(clip.fingerprint, self._recipe.id),
            clip.dim,
            stride,
            clip.file,
        )

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d gh gw"]:
        """Patch embeddings, each L2-normalised; gh = ceil(h / stride), gw = ceil(w / stride)."""
        inputs = to_input(
            images,
            self._clip.statistics,
            self._compute,
            multiple=self.info.stride,
            channels_last=hasattr(self._clip.visual, "attnpool"),
        )
        with torch.no_grad(), self._compute.autocast():
            values = self._recipe.compute(self._clip.visual, inputs)
        return F.normalize(values.float(), dim=1).contiguous()

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts without any prompt added, rows L2-normalised."""
        return self._clip.embed_texts(texts, self._compute)
