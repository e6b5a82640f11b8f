"""The ways to compute dense text features, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from recoseg.encoders.attention import forms
from recoseg.encoders.attention.pooled_head import pooled_values
from recoseg.encoders.attention.proxy import proxy_values
from recoseg.encoders.attention.regions import region_values
from recoseg.encoders.attention.residual import residual
from recoseg.encoders.attention.resnet import resnet_values
from recoseg.encoders.attention.self_adjusting import self_adjusting
from recoseg.regions.clusters import ClusterRegions


@dataclass(frozen=True)
class FeatureRecipe:
    """A way to compute dense features from an image tower.

    Attributes:
        id: Part of the encoder's fingerprint. A published id never changes, whatever the function
            is called; another arithmetic gets a new one, such as `vit_values.2`.
        compute: From the tower and its normalised input (n, 3, H, W) to features (n, d, H / s,
            W / s), where s is the stride. If it needs features, they are its third argument
            (n, c, h, w), and its result is on their grid.
        needs_features: Whether it needs the features of another encoder for the same photos.
    """

    id: str
    compute: Callable[..., Tensor]
    needs_features: bool = False


RESNET_VALUES = FeatureRecipe("resnet_values", resnet_values)
POOLED_VALUES = FeatureRecipe("pooled_values", pooled_values)
VIT_VALUES = FeatureRecipe("vit_values", forms.vit_values)


def _last(attention: forms.Attention, *, whole: bool = False) -> Callable[..., Tensor]:
    return partial(forms.last_attention, attention=attention, whole=whole)


REGIONS = ClusterRegions()
"""The regions of the form `corr`: clusters of the features that it is given."""


def cluster_values(visual: nn.Module, inputs: Tensor, proxy: Tensor) -> Tensor:
    """`region_values` of several photos, whose regions are clusters of the proxy's features."""
    with torch.autocast(proxy.device.type, enabled=False):  # regions do not depend on precision
        regions = REGIONS.regions_of([proxy])
    return torch.cat(
        [
            region_values(visual, inputs[at][None], proxy[at][None], labels.long())
            for at, labels in enumerate(regions)
        ]
    )


VIT_RECIPES: dict[str, FeatureRecipe] = {
    "values": VIT_VALUES,
    "maskclip": FeatureRecipe("maskclip", forms.maskclip),
    "sclip": FeatureRecipe("sclip", _last(forms.qq_kk, whole=True)),
    "naclip": FeatureRecipe("naclip", _last(forms.neighbours)),
    "clearclip": FeatureRecipe("clearclip", _last(forms.qq)),
    "qq-kk": FeatureRecipe("qq_kk", _last(forms.qq_kk)),
    "resclip": FeatureRecipe("resclip", residual),
    "scclip": FeatureRecipe("scclip", self_adjusting),
    "proxy": FeatureRecipe("proxy_values", proxy_values, needs_features=True),
    "corr": FeatureRecipe(f"region_values {REGIONS.key}", cluster_values, needs_features=True),
}
"""The forms of the last layer that a ViT as saliency encoder can take, by the name of the variant,
such as `ViT-B/16/naclip`."""
