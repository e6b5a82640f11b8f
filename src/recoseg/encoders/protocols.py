"""What an encoder is: three protocols, one for each role in the method.

Any object with the members of a protocol is an encoder. It takes photos as `uint8` RGB tensors
and does the rest itself: scaling, normalisation, padding, precision. It returns fp32 on its device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.errors import RecosegError
from recoseg.photos.frame import Frame

MAX_DIM = 65_536
"""Maximum length of a feature or embedding, and stride in pixels, that a file may claim."""


@dataclass(frozen=True)
class EncoderInfo:
    """The identity of an encoder: encoders with equal infos compute the same features.

    Attributes:
        name: The name it was asked for by, such as `ViT-L/14@336px`.
        weights: Where its weights came from: a source with revision, a file name, or `random`.
        fingerprint: 16 hex digits, a hash of the weights and of how features are computed.
        dim: Length of a feature or embedding.
        stride: Pixels per feature cell; 0 for encoders of whole images.
        file: Absolute path of the local weights file that the user named, if any. It says where
            to look for the weights; infos are compared without it.
        licence: The licence of the weights, as published; empty if it is not known, or if the
            weights are random. Infos are compared without it.
    """

    name: str
    weights: str
    fingerprint: str
    dim: int
    stride: int = 0
    file: str = field(default="", compare=False)
    licence: str = field(default="", compare=False)

    @property
    def key(self) -> str:
        """Name, fingerprint, dimension and stride as one text, under which features are kept.

        Example:
            >>> EncoderInfo("lite", "random", "0" * 16, 1408, 16).key
            'lite 0000000000000000 1408 16'
        """
        return f"{self.name} {self.fingerprint} {self.dim} {self.stride}"

    @property
    def spec(self) -> str:
        """The spec that builds it again: `NAME=FILE` while its own file exists, else `NAME`.

        `build_retrieval`, `build_saliency` and `build_phi` also take the info itself, and then say
        where the file was if it is gone.
        """
        if self.weights == "random":
            return f"{self.name}=random"
        return f"{self.name}={self.file}" if self.file and Path(self.file).exists() else self.name

    @property
    def described(self) -> str:
        """Name, weights, numbers and licence in one line.

        Example:
            >>> EncoderInfo("dinov2-s14", "hub", "0" * 16, 384, 14, licence="Apache-2.0").described
            'dinov2-s14 (hub), fingerprint 0000000000000000, 384 numbers, stride 14, Apache-2.0'
        """
        licence = f", {self.licence}" if self.licence else ""
        return (
            f"{self.name} ({self.weights}), fingerprint {self.fingerprint}, {self.dim} numbers, "
            f"stride {self.stride}{licence}"
        )

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON."""
        return asdict(self)

    def check_range(self, least_stride: int = 0) -> None:
        """Refuse numbers that no encoder has; those of files decide how much memory is taken.

        Raises:
            RecosegError: The dimension or the stride is out of range.
        """
        if not (0 < self.dim <= MAX_DIM and least_stride <= self.stride <= MAX_DIM):
            raise RecosegError(
                f"The encoder {self.name!r} has {self.dim} numbers and a stride of {self.stride}; "
                f"expected 1 to {MAX_DIM} numbers and {least_stride} to {MAX_DIM}."
            )

    def same_as(self, other: EncoderInfo) -> bool:
        """Whether the features of both can be compared: same fingerprint, dimension and stride."""
        return (self.fingerprint, self.dim, self.stride) == (
            other.fingerprint,
            other.dim,
            other.stride,
        )


class ImageTextEncoder(Protocol):
    """Embeds whole photos and texts so that they can be compared (CLIP): the retrieval encoder."""

    @property
    def info(self) -> EncoderInfo:
        """The identity of the encoder."""

    @property
    def frame(self) -> Frame:
        """The size and resizing of its input."""

    def embed_images(self, images: UInt8[Tensor, "n 3 size size"]) -> Float[Tensor, "n d"]:
        """Embeddings of photos, rows L2-normalised."""

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts without any prompt added, rows L2-normalised."""


@runtime_checkable
class KnowsItsWords(Protocol):
    """A text encoder that can tell which words it has never seen.

    Encoders whose vocabulary holds every byte, such as CLIP's, know no unknown words.
    """

    def unknown_words(self, words: Sequence[str]) -> list[str]:
        """The words of which no part is in the vocabulary: all have one and the same embedding."""


class DenseTextEncoder(Protocol):
    """Embeds patches and texts alike (DenseCLIP, MaskCLIP): the saliency encoder."""

    @property
    def info(self) -> EncoderInfo:
        """The identity of the encoder."""

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n d gh gw"]:
        """Patch embeddings, each L2-normalised; gh = ceil(h / stride), gw = ceil(w / stride)."""

    def embed_texts(self, texts: Sequence[str]) -> Float[Tensor, "n d"]:
        """Embeddings of texts without any prompt added, rows L2-normalised."""


class DenseImageEncoder(Protocol):
    """Describes patches by what they look like (DeiT, DINO): phi in the paper."""

    @property
    def info(self) -> EncoderInfo:
        """The identity of the encoder."""

    def features(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c gh gw"]:
        """Patch features, not normalised; gh = ceil(h / stride), gw = ceil(w / stride)."""


MEMBERS: dict[str, tuple[str, ...]] = {
    "retrieval": ("info", "frame", "embed_images", "embed_texts"),
    "saliency": ("info", "features", "embed_texts"),
    "phi": ("info", "features"),
}
"""What an object needs to be an encoder, by its role."""
