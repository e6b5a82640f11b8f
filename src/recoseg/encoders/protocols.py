"""The three seams between the method and its models.

Every encoder takes photos as `uint8` RGB tensors in its own frame (see `Frame`) and does the
rest itself: scaling, normalisation, padding, precision. It returns fp32 on its device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.photos.frame import Frame


@dataclass(frozen=True)
class EncoderInfo:
    """What identifies an encoder: two encoders with equal infos give the same features.

    Attributes:
        name: The name it was asked for by, such as `ViT-L/14@336px`.
        weights: Where its weights came from: a source with revision, a file name, or `random`.
        fingerprint: 16 hex digits drawn from the weights themselves.
        dim: Length of a feature or embedding.
        stride: Pixels per feature cell; 0 for encoders of whole images.
        file: The local weights file, absolute, where there is one; it does not identify anything.
    """

    name: str
    weights: str
    fingerprint: str
    dim: int
    stride: int = 0
    file: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """What tells the features of encoders apart: name, fingerprint, dimension and stride.

        Example:
            >>> EncoderInfo("lite", "random", "0" * 16, 1408, 16).key
            'lite 0000000000000000 1408 16'
        """
        return f"{self.name} {self.fingerprint} {self.dim} {self.stride}"

    @property
    def spec(self) -> str:
        """What builds it again: by name, or from its local weights file if that is still there."""
        if self.weights == "random":
            return f"{self.name}=random"
        return f"{self.name}={self.file}" if self.file and Path(self.file).is_file() else self.name

    def to_json(self) -> dict[str, Any]:
        """The fields, for a manifest."""
        return asdict(self)

    def same_as(self, other: EncoderInfo) -> bool:
        """Whether the other's features can be compared with this one's."""
        return (self.fingerprint, self.dim, self.stride) == (
            other.fingerprint,
            other.dim,
            other.stride,
        )


class ImageTextEncoder(Protocol):
    """Embeds whole photos and texts in one space (CLIP): the retrieval encoder."""

    @property
    def info(self) -> EncoderInfo:
        """Its identity."""

    @property
    def frame(self) -> Frame:
        """The input it expects."""

    def embed_images(self, images: UInt8[Tensor, "n 3 size size"]) -> Float[Tensor, "n d"]:
        """Embeddings of photos, rows L2-normalised."""

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts as they stand (no prompt is added), rows L2-normalised."""


class DenseTextEncoder(Protocol):
    """Embeds patches and texts in one space (DenseCLIP, MaskCLIP): the saliency encoder."""

    @property
    def info(self) -> EncoderInfo:
        """Its identity."""

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d gh gw"]:
        """Patch embeddings, each L2-normalised; gh = ceil(h / stride), gw = ceil(w / stride)."""

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts as they stand, rows L2-normalised."""


class DenseImageEncoder(Protocol):
    """Describes patches by what they look like (DeiT, DINO): the paper's phi."""

    @property
    def info(self) -> EncoderInfo:
        """Its identity."""

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c gh gw"]:
        """Patch features, not normalised; gh = ceil(h / stride), gw = ceil(w / stride)."""
