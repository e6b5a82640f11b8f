"""CLIP as the retrieval encoder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from recoseg.device import Compute
from recoseg.encoders.clip_model import LoadedClip
from recoseg.encoders.normalisation import check_size, to_input
from recoseg.encoders.protocols import EncoderInfo
from recoseg.photos.frame import Frame


class OpenClipEncoder:
    """Embeds whole photos and texts with any open_clip model (an `ImageTextEncoder`).

    Args:
        clip: The model, which other encoders may share.
        compute: Device (that of the model) and precision.
    """

    def __init__(self, clip: LoadedClip, compute: Compute) -> None:
        self._clip = clip
        self._compute = compute
        self._channels_last = hasattr(clip.visual, "attnpool")
        self.info = EncoderInfo(clip.name, clip.origin, clip.fingerprint, clip.dim, file=clip.file)

    @property
    def frame(self) -> Frame:
        """The input it expects."""
        return self._clip.frame

    def embed_images(self, images: UInt8[Tensor, "n 3 size size"]) -> Float[Tensor, "n d"]:
        """Embeddings of photos, rows L2-normalised.

        Raises:
            RecosegError: The photos are not of the frame's size.
        """
        check_size(images, self.frame.size, self._clip.name)
        inputs = to_input(
            images, self._clip.statistics, self._compute, channels_last=self._channels_last
        )
        encode = cast(Callable[[Tensor], Tensor], self._clip.model.encode_image)
        with torch.no_grad(), self._compute.autocast():
            embedded = encode(inputs)
        return F.normalize(embedded.float(), dim=-1)

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts without any prompt added, rows L2-normalised."""
        return self._clip.embed_texts(texts, self._compute)
