"""A photo and the same photo with its masks, small enough for pages."""

from __future__ import annotations

from PIL import Image

from recoseg.drawing.overlay import LEAST_SHARE, paint_classes
from recoseg.labels import Segmentation, nearest_labels

_LETTERS = 1 / 13  # of the height: most pictures are shown at a height of about 200 pixels


def shares_of(found: Segmentation) -> tuple[tuple[int, float], ...]:
    """Label and share of each class that a photo shows, the largest first.

    Classes with a share below `LEAST_SHARE` are left out, as they are from legends.

    Example:
        >>> import numpy as np
        >>> shares_of(Segmentation(np.array([[1, 1, 255]], np.uint8), ("a", "b"), ()))
        ((1, 0.6666666666666666),)
    """
    areas = found.areas().items()
    return tuple((found.names.index(name), area) for name, area in areas if area >= LEAST_SHARE)


def shrunk(
    image: Image.Image, found: Segmentation, long_side: int
) -> tuple[Image.Image, Segmentation]:
    """A photo, and by the nearest label its label map, with a long side of at most this.

    Args:
        image: The photo, RGB, of any size; it is never enlarged.
        found: Its segmentation, which may have another size than the photo.
        long_side: Pixels.
    """
    small = image.copy()
    small.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
    labels = nearest_labels(found.labels, (small.height, small.width))
    return small, Segmentation(labels, found.names, found.palette)


def with_masks(image: Image.Image, found: Segmentation, letters: float = _LETTERS) -> Image.Image:
    """A photo with its classes painted over it, and their names on them.

    Args:
        image: The photo, RGB.
        found: Its segmentation, of the same size.
        letters: Height of the names, as a share of the photo's height; at least 12 pixels.
    """
    return paint_classes(image, found, letters=max(12, round(letters * image.height)))
