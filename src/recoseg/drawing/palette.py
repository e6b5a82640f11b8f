"""Colours that can be told apart: a few by the name of the class, the others by its index."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from recoseg.labels import IGNORE_INDEX, Colour

BACKGROUND: Colour = (255, 255, 255)
"""The colour of background, index 255: white, as in the supplement's Figure 2."""

BACKGROUND_CLASS: Colour = (0, 0, 0)
"""The colour of background where it is a class to train on: black, unlike what is ignored."""

_NATURAL: dict[str, Colour] = {
    "sky": (120, 190, 235),
    "water": (40, 150, 160),
    "tree": (30, 95, 50),
    "grass": (140, 195, 80),
    "building": (160, 110, 80),
    "road": (120, 115, 130),
    "pavement": (200, 180, 205),
    "sand": (235, 215, 165),
}
"""Colours in which one expects these classes; those of the indices keep away from them."""

_FIRST = ((230, 159, 0), (0, 90, 190), (204, 121, 167), (213, 94, 0), (240, 228, 66))
"""The first colours, close to those of Okabe and Ito (2008), which all eyes tell apart."""

_LIGHTNESS = range(48, 88, 4)
"""Lightness of the others in L*a*b*: no class hides the photo or is much louder than another."""

_COLOUR_BLIND = (
    (
        (0.152286, 1.052583, -0.204868),
        (0.114503, 0.786281, 0.099216),
        (-0.003882, -0.048116, 1.052),
    ),
    (
        (0.367322, 0.860646, -0.227968),
        (0.280085, 0.672501, 0.047413),
        (-0.01182, 0.04294, 0.968881),
    ),
)
"""How eyes without red and without green receptors see linear RGB (Machado et al., 2009)."""

_FACTOR = 2.0
"""Distances as colour-blind eyes see them count this much, which leaves room for different hues."""

_TO_XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
_WHITE = np.array([0.9505, 1.0, 1.089])


@functools.cache
def _ordered() -> tuple[Colour, ...]:
    """255 colours, each as different as possible from those before it and the natural ones."""
    candidates = _candidates()
    seen = _as_seen(candidates)
    distance = np.full(len(candidates), np.inf)
    for taken in (*_FIRST, *_NATURAL.values(), (255, 255, 255), (0, 0, 0)):
        distance = np.minimum(distance, _distances(seen, _as_seen(np.array([taken]) / 255)))
    chosen: list[int] = []
    for _ in range(IGNORE_INDEX - len(_FIRST)):
        best = int(distance.argmax())
        chosen.append(best)
        distance = np.minimum(distance, _distances(seen, [part[best] for part in seen]))
    colours = np.round(candidates[chosen] * 255).astype(int)
    return (*_FIRST, *((int(r), int(g), int(b)) for r, g, b in colours))


def _candidates() -> np.ndarray:
    """Colours of middle lightness, sRGB (n, 3) in [0, 1], by lightness, chroma and hue."""
    hues = np.radians(np.arange(0, 360, 10))
    lab = np.array(
        [
            (lightness, chroma * np.cos(hue), chroma * np.sin(hue))
            for lightness in _LIGHTNESS
            for chroma in range(20, 81, 15)
            for hue in hues
        ]
    )
    linear = _from_lab(lab)
    shown = ((linear >= 0) & (linear <= 1)).all(1)
    return _to_srgb(linear[shown])


def _as_seen(rgb: np.ndarray) -> list[np.ndarray]:
    """L*a*b* of sRGB colours as usual eyes see them, and as two kinds of colour-blind eyes do."""
    linear = _to_linear(rgb)
    blind = [_to_srgb((linear @ np.array(matrix).T).clip(0, 1)) for matrix in _COLOUR_BLIND]
    return [_to_lab(colours) for colours in (rgb, *blind)]


def _distances(many: Sequence[np.ndarray], one: Sequence[np.ndarray]) -> np.ndarray:
    """How different many colours are from one to whichever eyes see the least difference."""
    usual, *blind = (
        np.linalg.norm(these - that, axis=1) for these, that in zip(many, one, strict=True)
    )
    return np.minimum(usual, _FACTOR * np.min(blind, axis=0))


def _to_linear(rgb: np.ndarray) -> np.ndarray:
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _to_srgb(linear: np.ndarray) -> np.ndarray:
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


def _to_lab(rgb: np.ndarray) -> np.ndarray:
    """Convert sRGB in [0, 1] to CIE L*a*b* (D65), whose distances are close to perceived ones."""
    xyz = _to_linear(rgb) @ _TO_XYZ.T / _WHITE
    root = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = root.T
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=1)


def _from_lab(lab: np.ndarray) -> np.ndarray:
    """Convert CIE L*a*b* to linear RGB; colours that no screen shows are outside of [0, 1]."""
    y = (lab[:, 0] + 16) / 116
    root = np.stack([y + lab[:, 1] / 500, y, y - lab[:, 2] / 200], axis=1)
    xyz = np.where(root > 6 / 29, root**3, 3 * (6 / 29) ** 2 * (root - 4 / 29))
    return xyz * _WHITE @ np.linalg.inv(_TO_XYZ).T


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


def hex_colour(colour: Colour) -> str:
    """A colour as pages write it.

    Example:
        >>> hex_colour((0, 90, 190))
        '#005abe'
    """
    red, green, blue = colour
    return f"#{red:02x}{green:02x}{blue:02x}"


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
