"""Colours that can be told apart, computed from the index alone."""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Sequence

import numpy as np

from recoseg.labels import IGNORE_INDEX, Colour

BACKGROUND: Colour = (255, 255, 255)
"""The colour of background, index 255: white, as in the supplement's Figure 2."""


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
