"""Measures of a photo's pixels: contrast, sharpness, and how much it looks like a drawing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from recoseg.curation.measuring import Kind, Measures
from recoseg.curation.verdicts import Verdict

SHORT_SIDE = 256
"""Photos are measured at this short side, pixels: about what encoders see."""

THUMBNAIL = 8
"""Side of thumbnails, pixels."""
ALIKE = 0.95
"""Least correlation of the thumbnails of copies."""

PIXEL_CHECKS = frozenset({"tiny", "blank", "blurred", "drawn"})
"""The checks that these measures are for."""

_CELLS = tuple(f"cell{number}" for number in range(THUMBNAIL**2))
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_TILES = 4
"""Sharpness is found in this number of tiles along each side."""
_BLUR = 9
"""Length of the average by which photos are blurred again, pixels."""
_LEAST_STEP = 1.0
"""Tiles whose brightness changes by less from pixel to pixel, on average, are too even to tell."""
_SOFT, _HARD = 8, 40
"""Steps between neighbouring pixels, of 255: those of shading, and those of outlines."""
_COLOURS = 8
"""Number of the most frequent colours that a drawing consists of."""


def brightness(pixels: UInt8[np.ndarray, "h w 3"]) -> Float[np.ndarray, "h w"]:
    """The brightness of each pixel (luma of ITU-R BT.601), 0 to 255."""
    return pixels.astype(np.float32) @ _LUMA


def contrast(grey: Float[np.ndarray, "h w"]) -> float:
    """The standard deviation of the brightness, 0 to 127.5."""
    return float(grey.std())


def sharpness(grey: Float[np.ndarray, "h w"]) -> float:
    """How much of the steps between neighbouring pixels another blur takes away, 0 to 1.

    A blur takes much away from a sharp photo, and little from one that is blurred already (Crete et
    al., 2007). The photo is divided into 4 x 4 tiles, and the second sharpest one counts, so that a
    sharp subject before a blurred background is sharp. The less sharp of both directions counts, so
    that photos which were shaken are blurred.

    Args:
        grey: Brightness, 0 to 255.

    Returns:
        The sharpness; 1 where the photo is too even to tell.
    """
    from scipy.ndimage import uniform_filter1d

    found = [1.0]
    for axis in (0, 1):
        steps = np.abs(np.diff(grey, axis=axis))
        if not steps.size:
            continue
        again = np.abs(np.diff(uniform_filter1d(grey, _BLUR, axis=axis), axis=axis))
        total, lost = _tile_sums(steps), _tile_sums(np.maximum(steps - again, 0))
        telling = total > _LEAST_STEP * steps.size / total.size
        if telling.any():
            shares = np.sort(lost[telling] / total[telling])
            found.append(float(shares[-min(2, len(shares))]))
    return min(found)


def drawn_share(pixels: UInt8[np.ndarray, "h w 3"]) -> float:
    """How much a picture looks like a drawing, 0 to 1.

    Drawings have few colours, and outlines instead of shading. So this is the share of the pixels
    that have one of the 8 most frequent colours (of 4,096), times the share of hard steps among all
    steps between neighbouring pixels that can be seen.
    """
    coarse = (pixels >> 4).astype(np.int32)
    codes = (coarse[..., 0] << 8) | (coarse[..., 1] << 4) | coarse[..., 2]
    counts = np.bincount(codes.ravel())
    frequent = np.sort(counts)[-_COLOURS:].sum() / codes.size
    levels = pixels.astype(np.int16)
    steps = [np.abs(np.diff(levels, axis=axis)).max(2) for axis in (0, 1)]
    seen = sum(int((part > _SOFT).sum()) for part in steps)
    hard = sum(int((part >= _HARD).sum()) for part in steps)
    return float(frequent * hard / seen) if seen else 0.0


def thumbnail(grey: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "8 8"]:
    """The mean brightness of 8 x 8 parts of a photo, by which copies are known again."""
    scaled = Image.fromarray(grey).resize((THUMBNAIL, THUMBNAIL), Image.Resampling.BOX)
    return np.asarray(scaled, np.float32)


def correlation(one: Float[np.ndarray, "8 8"], other: Float[np.ndarray, "8 8"]) -> float:
    """The correlation of two thumbnails, or of one with the mirror image of the other, in [-1, 1].

    It is 0 where one of them is even, and NaN where one is not known.
    """
    one, other = one - one.mean(), other - other.mean()
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    if lengths == 0:
        return 0.0
    return max(float((one * other).sum()), float((one * other[:, ::-1]).sum())) / lengths


def _tile_sums(values: Float[np.ndarray, "h w"]) -> Float[np.ndarray, "a b"]:
    """Sums over tiles, at most 4 x 4; smaller pictures have one tile per pixel."""
    for axis in (0, 1):
        tiles = min(_TILES, values.shape[axis])
        starts = np.arange(tiles) * values.shape[axis] // tiles
        values = np.add.reduceat(values, starts, axis=axis)
    return values


def measure_pixels(pixels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Width and height of the whole photo, the three measures, and the thumbnail, (69,) float32.

    Args:
        pixels: The photo at `SHORT_SIDE`, (h, w, 3) uint8, RGB.
        size: Width and height of the whole photo.
    """
    grey = brightness(pixels)
    plain = np.array([*size, contrast(grey), sharpness(grey), drawn_share(pixels)], np.float32)
    return np.concatenate([plain, thumbnail(grey).ravel()])


PIXELS = Kind(
    "pixels-1",
    "Measuring photos",
    ("width", "height", "contrast", "sharpness", "drawn", *_CELLS),
    SHORT_SIDE,
    measure_pixels,
)
"""The measures of pixels."""


def alike_by(measures: Measures) -> Callable[[int, int], bool]:
    """A function that says whether the thumbnails of two photos, given by position, correlate."""
    first = measures.columns.index(_CELLS[0])
    thumbnails = measures.values[:, first:].reshape(-1, THUMBNAIL, THUMBNAIL)
    return lambda one, other: correlation(thumbnails[one], thumbnails[other]) > ALIKE


def pixel_verdicts(
    measures: Measures, names: Sequence[str], limits: Mapping[str, float]
) -> list[Verdict]:
    """Leave out photos by their pixels.

    Args:
        measures: Measures of the kind `PIXELS`.
        names: The checks to make.
        limits: The limits by name.
    """
    side = np.minimum(measures["width"], measures["height"])
    found = {
        "tiny": Verdict.below("tiny", "tiny", side, limits["tiny"]),
        "blank": Verdict.below("blank", "blank", measures["contrast"], limits["blank"]),
        "blurred": Verdict.below("blurred", "blurred", measures["sharpness"], limits["blurred"]),
        "drawn": Verdict.above("drawn", "drawn", measures["drawn"], limits["drawn"]),
    }
    return [verdict for name, verdict in found.items() if name in names]
