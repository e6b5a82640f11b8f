"""Dividing large photos at a smaller size."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Int32, UInt8
from PIL import Image
from torch import Tensor

from recoseg.regions.masks import resize_labels


def divide_small(
    pixels: UInt8[Tensor, "3 h w"],
    side: int,
    divide: Callable[[UInt8[Tensor, "3 a b"]], Int32[Tensor, "a b"]],
) -> Int32[Tensor, "h w"]:
    """Regions of a photo that is scaled down if its long side has more than `side` pixels.

    Each pixel of the photo gets the nearest label, and no region is lost.

    Args:
        pixels: RGB of any size.
        side: The longest side at which the photo is divided, pixels.
        divide: Gives the regions of the pixels of a photo.
    """
    height, width = pixels.shape[1:]
    scale = side / max(height, width)
    if scale >= 1:
        return divide(pixels)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    image = Image.fromarray(as_array(pixels)).resize(size, Image.Resampling.BILINEAR)
    small = torch.from_numpy(np.array(image)).permute(2, 0, 1)
    return resize_labels(divide(small), (height, width))


def as_array(pixels: UInt8[Tensor, "3 h w"]) -> np.ndarray:
    """The pixels as an array (h, w, 3)."""
    return np.ascontiguousarray(pixels.permute(1, 2, 0).cpu().numpy())
