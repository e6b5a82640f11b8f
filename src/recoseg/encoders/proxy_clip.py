"""CLIP as the saliency encoder, with the attention that another encoder's features give it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from recoseg.device import Compute
from recoseg.encoders.clip_model import LoadedClip
from recoseg.encoders.dense_clip import choose_recipe
from recoseg.encoders.normalisation import to_input
from recoseg.encoders.protocols import EncoderInfo
from recoseg.encoders.weights import combine
from recoseg.errors import RecosegError


class ProxyClipEncoder:
    """Embeds patches and texts; who attends to whom is told by another encoder's features.

    It is a `DenseTextEncoder` that `NeedsFeatures`: `extract` gives it those of the other encoder,
    which is called its proxy. Its features are on the proxy's grid, and the proxy is part of its
    fingerprint.

    Args:
        clip: The model, a ViT, which other encoders may share.
        compute: Device (that of the model) and precision.
        form: A form of the last attention layer that needs features; see `VIT_RECIPES`.
        proxy: The identity of the proxy.

    Raises:
        UnknownNameError: There is no such form.
        RecosegError: The model is no ViT, or the form needs no features.
    """

    def __init__(self, clip: LoadedClip, compute: Compute, form: str, proxy: EncoderInfo) -> None:
        self._clip = clip
        self._compute = compute
        self._recipe, self._patch = choose_recipe(clip.visual, clip.name, form)
        if not self._recipe.needs_features:
            raise RecosegError(f"The form {form!r} needs no features; use a DenseClipEncoder.")
        self.needs = proxy.key
        self.info = EncoderInfo(
            f"{clip.name}/{form}",
            clip.origin,
            combine(clip.fingerprint, self._recipe.id, proxy.fingerprint, proxy.dim, proxy.stride),
            clip.dim,
            proxy.stride,
            clip.file,
        )

    def features_with(
        self, images: UInt8[Tensor, "n 3 h w"], other: Float[Tensor, "n c gh gw"]
    ) -> Float[Tensor, "n d gh gw"]:
        """Patch embeddings, each L2-normalised, on the grid of the proxy's features.

        The photos are padded as for the proxy. If their sides then are no multiples of CLIP's
        patch, they are resized to the nearest ones, so that both grids cover the same area.
        """
        inputs = to_input(images, self._clip.statistics, self._compute, multiple=self.info.stride)
        inputs = to_whole_patches(inputs, self._patch)
        with torch.no_grad(), self._compute.autocast():
            values = self._recipe.compute(self._clip.visual, inputs, other.to(inputs.device))
        return F.normalize(values.float(), dim=1).contiguous()

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d gh gw"]:
        """Refused: there are no features without those of the proxy.

        Raises:
            RecosegError: Always.
        """
        raise RecosegError(
            f"{self.info.name} needs the features of {self.needs!r} for the same photos. Call "
            "`recoseg.encoders.extract.extract` with both encoders."
        )

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts without any prompt added, rows L2-normalised."""
        return self._clip.embed_texts(texts, self._compute)


def to_whole_patches(inputs: Float[Tensor, "n 3 h w"], patch: int) -> Float[Tensor, "n 3 H W"]:
    """Photos resized (bilinear) so that height and width are the nearest multiples of a patch."""
    size = [max(patch, (side + patch // 2) // patch * patch) for side in inputs.shape[2:]]
    if list(inputs.shape[2:]) == size:
        return inputs
    return F.interpolate(inputs, size, mode="bilinear", align_corners=False)
