"""From `uint8` photos to the input of a model: device, scale, normalisation, padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from recoseg.device import Compute
from recoseg.errors import RecosegError


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each channel (RGB), for values in [0, 1].

    Its `repr` is part of encoder fingerprints and must not change.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


IMAGENET = Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def normalisation(mean: Sequence[float], std: Sequence[float]) -> Normalisation:
    """Mean and standard deviation from the configuration of a library."""
    return Normalisation((mean[0], mean[1], mean[2]), (std[0], std[1], std[2]))


def check_photos(images: Tensor) -> None:
    """Refuse tensors that are not a batch of photos.

    Raises:
        RecosegError: The tensor is not uint8, or does not have three channels.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise RecosegError(
            "Expected photos as uint8 tensor (n, 3, h, w), "
            f"got {images.dtype} {tuple(images.shape)}."
        )


def check_size(images: Tensor, size: int, name: str) -> None:
    """Refuse photos of another size than an encoder of whole photos expects.

    Raises:
        RecosegError: Height or width differ from the size.
    """
    height, width = images.shape[-2:]
    if (height, width) != (size, size):
        raise RecosegError(
            f"{name} expects photos of {size} x {size}, got {height} x {width}. "
            "Resize them as its `frame` says."
        )


def to_input(
    images: UInt8[Tensor, "n 3 h w"],
    statistics: Normalisation,
    compute: Compute,
    *,
    multiple: int = 1,
    channels_last: bool = False,
) -> Float[Tensor, "n 3 H W"]:
    """Prepare photos for a model.

    Args:
        images: RGB.
        statistics: Mean and standard deviation that the model was trained with.
        compute: The device the photos are moved to.
        multiple: Height and width are padded to a multiple of this by repeating the last row and
            column, so that no patch is lost or shifted.
        channels_last: Use the memory layout that is faster for convolutional networks.

    Raises:
        RecosegError: The tensor is not uint8, or does not have three channels.
    """
    check_photos(images)
    moved = images.to(compute.device, non_blocking=True)
    mean = torch.tensor(statistics.mean, device=moved.device).view(1, 3, 1, 1)
    std = torch.tensor(statistics.std, device=moved.device).view(1, 3, 1, 1)
    scaled = (moved.float() / 255 - mean) / std
    bottom, right = -scaled.shape[-2] % multiple, -scaled.shape[-1] % multiple
    if bottom or right:
        scaled = F.pad(scaled, (0, right, 0, bottom), mode="replicate")
    return scaled.contiguous(memory_format=torch.channels_last) if channels_last else scaled
