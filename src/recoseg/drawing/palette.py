"""Colours that can be told apart: a few by the name of the class, the others by its index."""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Sequence

import numpy as np

from recoseg.labels import IGNORE_INDEX, Colour

BACKGROUND: Colour = (255, 255, 255)
"""The colour of background, index 255: white, as in the supplement's Figure 2."""

_NATURAL: dict[str, Colour] = {
    "sky": (86, 180, 233),
    "water": (45, 165, 160),
    "tree": (20, 85, 35),
    "grass": (140, 200, 60),
    "building": (215, 125, 30),
    "road": (120, 112, 135),
    "pavement": (205, 170, 200),
    "sand": (240, 215, 150),
}
"""Colours in which one expects these classes. They differ in lightness as well, for eyes that
confuse hues, and are apart from the colours of the first 20 indices."""


@functools.cache
def _ordered() -> tuple[Colour, ...]:
    """255 colours, each as different as possible from those before it, white and black."""
    levels = [
        colorsys.hsv_to_rgb(hue / 36, saturation, value)
        for value in (1.0, 0.8, 0.6, 0.4)
        for saturation in (1.0, 0.7, 0.45)
        for hue in range(36)
    ]
    candidates = np.array(levels)
    lab = _to_lab(candidates)
    distance = np.full(len(candidates), np.inf)
    for fixed in _to_lab(np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])):
        distance = np.minimum(distance, np.linalg.norm(lab - fixed, axis=1))
    chosen: list[int] = []
    for _ in range(IGNORE_INDEX):
        best = int(distance.argmax())
        chosen.append(best)
        distance = np.minimum(distance, np.linalg.norm(lab - lab[best], axis=1))
    colours = np.round(candidates[chosen] * 255).astype(int)
    return tuple((int(r), int(g), int(b)) for r, g, b in colours)


def _to_lab(rgb: np.ndarray) -> np.ndarray:
    """Convert sRGB in [0, 1] to CIE L*a*b* (D65), whose distances are close to perceived ones."""
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    )
    xyz = linear @ to_xyz.T / np.array([0.9505, 1.0, 1.089])
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def default_palette(classes: int) -> tuple[Colour, ...]:
    """RGB colours of the first `classes` indices; after 255 they repeat.

    Example:
        >>> default_palette(3) == default_palette(5)[:3]
        True
    """
    colours = _ordered()
    return tuple(colours[index % len(colours)] for index in range(classes))


def palette_of(names: Sequence[str]) -> tuple[Colour, ...]:
    """RGB colours of classes: natural ones of sky, water, tree and the like, else by the index.

    A class keeps its colour whatever the others are called, and whatever follows it.

    Args:
        names: Names of the classes, in the order of their labels; upper case counts as lower case.

    Example:
        >>> palette_of(["sky", "dog"])[1] == default_palette(2)[1]
        True
    """
    return tuple(
        _NATURAL.get(name.lower(), colour)
        for name, colour in zip(names, default_palette(len(names)), strict=True)
    )


def colour_table(palette: Sequence[Colour]) -> np.ndarray:
    """A palette as (256, 3) uint8: the colours of the classes, white at 255, black elsewhere."""
    table = np.zeros((256, 3), np.uint8)
    used = min(len(palette), IGNORE_INDEX)
    if used:
        table[:used] = np.array(palette[:used], np.uint8)
    table[IGNORE_INDEX] = BACKGROUND
    return table


def colour_labels(labels: np.ndarray, palette: Sequence[Colour], ignored: int) -> np.ndarray:
    """Paint a label map: (h, w) labels to (h, w, 3) uint8; background is white."""
    table = np.zeros((ignored + 1, 3), np.uint8)
    if palette:
        table[: len(palette)] = np.array(palette, np.uint8)
    table[ignored] = BACKGROUND
    return table[labels]
