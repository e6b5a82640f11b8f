"""Scaling photos as the published evaluations of open-vocabulary segmentation do."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32
from PIL import Image


def keep_ratio_size(size: tuple[int, int], short_side: int, longest: int) -> tuple[int, int]:
    """Width and height of a photo scaled so that it just fits within a short and a long side.

    Args:
        size: Width and height of the photo.
        short_side: The short side is at most this, pixels.
        longest: The long side is at most this, pixels.

    Example:
        >>> keep_ratio_size((500, 375), 336, 2048)
        (448, 336)
        >>> keep_ratio_size((4000, 375), 336, 2048)
        (2048, 192)
    """
    scale = min(longest / max(size), short_side / min(size))
    width, height = (max(1, int(side * scale + 0.5)) for side in size)
    return width, height


def resize_keep_ratio(image: Image.Image, short_side: int, longest: int) -> Image.Image:
    """Scale an RGB image to `keep_ratio_size`, bilinearly and without anti-aliasing.

    Args:
        image: The image.
        short_side: The short side is at most this, pixels; 0 keeps the size.
        longest: The long side is at most this, pixels.
    """
    new = keep_ratio_size(image.size, short_side, longest) if short_side else image.size
    if new == image.size:
        return image
    pixels = np.asarray(image.convert("RGB"), np.float32)
    rows = _blend(pixels, new[1])
    both = _blend(rows.swapaxes(0, 1), new[0]).swapaxes(0, 1)
    return Image.fromarray(np.rint(both).astype(np.uint8))


def _blend(pixels: Float32[np.ndarray, "m k 3"], length: int) -> Float32[np.ndarray, "n k 3"]:
    """Resize the first axis: each new row is a blend of the two rows nearest to its centre."""
    last = len(pixels) - 1
    places = ((np.arange(length) + 0.5) * (len(pixels) / length) - 0.5).clip(0, last)
    low = places.astype(np.int64)
    share = (places - low).astype(np.float32)[:, None, None]
    return pixels[low] * (1 - share) + pixels[np.minimum(low + 1, last)] * share
