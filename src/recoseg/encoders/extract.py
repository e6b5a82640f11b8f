"""Compute the features of photos by several dense encoders; each backbone runs once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.encoders.protocols import DenseImageEncoder, DenseTextEncoder, EncoderInfo
from recoseg.errors import RecosegError

DenseEncoder = DenseImageEncoder | DenseTextEncoder

ENCODING_BYTES = 350
"""Bytes that the networks at hand need at most per pixel of their input."""


class SharedBackbone(Protocol):
    """A network whose feature maps several encoders use."""

    def dense(self, images: UInt8[Tensor, "n 3 h w"]) -> Float[Tensor, "n c gh gw"]:
        """The feature maps of photos."""


@runtime_checkable
class SharesBackbone(Protocol):
    """A dense encoder whose features are computed from those of a backbone that others share."""

    @property
    def backbone(self) -> SharedBackbone:
        """The backbone; encoders that share it hold the same object."""

    def from_backbone(self, maps: Float[Tensor, "n c gh gw"]) -> Float[Tensor, "n d gh gw"]:
        """The encoder's features from the backbone's; equal to its `features` of the photos."""


@runtime_checkable
class NeedsFeatures(Protocol):
    """A dense encoder that also uses the features of another one, such as proxy attention."""

    @property
    def needs(self) -> str:
        """The key of the other encoder; see `EncoderInfo.key`."""

    def features_with(
        self, images: UInt8[Tensor, "n 3 h w"], other: Float[Tensor, "n c gh gw"]
    ) -> Float[Tensor, "n d hh hw"]:
        """The encoder's features, given those of the other one for the same photos."""


@torch.inference_mode()
def extract(
    encoders: Iterable[DenseEncoder],
    images: UInt8[Tensor, "n 3 h w"],
    wanted: Sequence[str] | None = None,
) -> dict[str, Float[Tensor, "n c gh gw"]]:
    """Pass photos of equal size through dense encoders.

    Encoders with equal keys run once. Encoders that share a backbone (see `SharesBackbone`) share
    one pass of it. An encoder that needs another one's features (see `NeedsFeatures`) gets them,
    whether or not they are wanted themselves.

    Args:
        encoders: The encoders, those that others need among them.
        images: RGB.
        wanted: Keys of the features to return; None for all.

    Returns:
        The features by encoder key (see `EncoderInfo.key`), in the order of the encoders.

    Raises:
        RecosegError: An encoder needs the features of one that is not there, or its features do
            not have the shape that its info says.
    """
    by_key = {encoder.info.key: encoder for encoder in encoders}
    asked = list(by_key) if wanted is None else [key for key in by_key if key in wanted]
    run = _Pass(by_key, images)
    return {key: run.of(key) for key in asked}


class _Pass:
    """What has been computed of some photos so far.

    Functions within `extract` that call each other would hold the feature maps until Python looks
    for garbage, which may be many photos later.
    """

    def __init__(self, encoders: Mapping[str, DenseEncoder], images: Tensor) -> None:
        self._encoders = encoders
        self._images = images
        self._maps: dict[int, Tensor] = {}
        self._found: dict[str, Tensor] = {}

    def of(self, key: str, waiting: tuple[str, ...] = ()) -> Tensor:
        """The features of an encoder; those of `waiting` need them, directly or not."""
        if key not in self._found:
            encoder = self._encoders[key]
            self._found[key] = self._features(encoder, (*waiting, key))
            _check_shape(self._found[key], self._images, encoder.info)
        return self._found[key]

    def _features(self, encoder: DenseEncoder, waiting: tuple[str, ...]) -> Tensor:
        if isinstance(encoder, NeedsFeatures):
            if encoder.needs not in self._encoders or encoder.needs in waiting:
                raise RecosegError(
                    f"{encoder.info.name} needs the features of the encoder {encoder.needs!r}. "
                    f"Expected it among the others; got {', '.join(self._encoders)}."
                )
            return encoder.features_with(self._images, self.of(encoder.needs, waiting))
        if isinstance(encoder, SharesBackbone):
            shared = id(encoder.backbone)
            if shared not in self._maps:
                self._maps[shared] = encoder.backbone.dense(self._images)
            return encoder.from_backbone(self._maps[shared])
        return encoder.features(self._images)


def _check_shape(features: Tensor, images: Tensor, info: EncoderInfo) -> None:
    """Refuse features that do not have the shape that the encoder's info says."""
    height, width = images.shape[2:]
    grid = (-(-height // info.stride), -(-width // info.stride)) if info.stride else (1, 1)
    expected = (len(images), info.dim, *grid)
    if tuple(features.shape) != expected:
        raise RecosegError(
            f"{info.name} gave features of shape {tuple(features.shape)} for photos of "
            f"{height} x {width}. Expected {expected}: dimension {info.dim} and one cell for every "
            f"{info.stride} pixels, the last one padded, as the encoder's info says."
        )
