"""The three seams between the method and its models.

Every encoder takes photos as `uint8` RGB tensors in its own frame (see `Frame`) and does the
rest itself: scaling, normalisation, padding, precision. It returns fp32 on its device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from jaxtyping import Float, UInt8
from torch import Tensor

Resize = Literal["short", "squash", "fit"]


@dataclass(frozen=True)
class Frame:
    """How a photo becomes the input of an image-text encoder.

    Attributes:
        size: Side of the square input, in pixels.
        resize: `short`: short side to `size`, then a centre crop; `squash`: to size x size
            whatever the aspect ratio; `fit`: long side to `size`, the rest black.
        interpolation: `bicubic` or `bilinear`, both anti-aliased.
    """

    size: int
    resize: Resize = "short"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"


@dataclass(frozen=True)
class EncoderInfo:
    """What identifies an encoder: two encoders with equal infos give the same features.

    Attributes:
        name: The name it was asked for by, such as `ViT-L/14@336px`.
        weights: Where its weights came from: a source with revision, a file name, or `random`.
        fingerprint: 16 hex digits drawn from the weights themselves.
        dim: Length of a feature or embedding.
        stride: Pixels per feature cell; 0 for encoders of whole images.
    """

    name: str
    weights: str
    fingerprint: str
    dim: int
    stride: int = 0

    @property
    def spec(self) -> str:
        """What builds it again by name, unless its weights came from a local file."""
        return f"{self.name}=random" if self.weights == "random" else self.name

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
