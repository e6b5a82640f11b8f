"""Checks of the arguments of co-segmentation, and its error class."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.errors import RecosegError


class CosegmentationError(RecosegError, ValueError):
    """Features, weights or settings that cannot be co-segmented."""


def check_features(features: Float[Tensor, "k C h w"]) -> None:
    """Refuse anything but a non-empty stack of finite feature maps.

    Raises:
        CosegmentationError: Wrong number of axes, an empty axis, integers, or NaN or infinity.
    """
    if features.ndim != 4 or 0 in features.shape:
        raise CosegmentationError(
            "Expected features of shape (k, C, h, w) without an empty axis; got "
            f"{tuple(features.shape)}."
        )
    if not features.is_floating_point():
        raise CosegmentationError(f"Expected floating-point features; got {features.dtype}.")
    for index, image in enumerate(features):
        if not torch.isfinite(image).all():
            raise CosegmentationError(
                f"Expected finite features; the features of image {index} contain NaN or infinity. "
                "Compute them in a higher precision or leave the image out."
            )


def check_weights(weights: Float[Tensor, "k h w"], features: Float[Tensor, "k C h w"]) -> None:
    """Refuse weights that do not fit the features or lie outside [0, 1].

    Raises:
        CosegmentationError: The shape is not (k, h, w), the weights are integers, or values lie
            outside [0, 1].
    """
    expected = (features.shape[0], *features.shape[2:])
    if tuple(weights.shape) != expected:
        raise CosegmentationError(
            f"Expected weights of shape (k, h, w) = {expected}; got {tuple(weights.shape)}."
        )
    if not weights.is_floating_point():
        raise CosegmentationError(f"Expected floating-point weights; got {weights.dtype}.")
    if not bool(((weights >= 0) & (weights <= 1)).all()):  # also False for NaN
        low, high = weights.aminmax()
        raise CosegmentationError(
            f"Expected weights in [0, 1]; got values from {low.item():g} to {high.item():g}."
        )


def check_same_grid(compared: Float[Tensor, "k c h w"], features: Float[Tensor, "k C h w"]) -> None:
    """Refuse features to compare that are of other images or on another grid.

    Raises:
        CosegmentationError: Number of images, height or width differ.
    """
    expected, got = ((len(part), *part.shape[2:]) for part in (features, compared))
    if got != expected:
        raise CosegmentationError(
            f"Expected features to compare with (k, h, w) = {expected}, as the features have; got "
            f"{got}."
        )


def check_choice(kind: str, value: str, valid: tuple[str, ...]) -> None:
    """Refuse a name that is not among the valid ones.

    Raises:
        CosegmentationError: The name is unknown; the message lists the valid ones.
    """
    if value not in valid:
        raise CosegmentationError(f"Unknown {kind} {value!r}. Valid: {', '.join(valid)}.")
