"""A photo with its classes painted over it and a legend below."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from recoseg.drawing.fonts import Font, drawable, load_font
from recoseg.drawing.palette import BACKGROUND, colour_labels
from recoseg.labels import Colour, Segmentation

MAX_OVERLAY = 16_000_000
"""Photos of more pixels are made smaller before they are painted over, to this many."""

_SHORTEST_LONG_SIDE = 480
_MOST_LISTED = 60


def draw_overlay(
    image: Image.Image, segmentation: Segmentation, *, opacity: float = 0.55, legend: bool = True
) -> Image.Image:
    """Paint the classes over a photo.

    Photos with a long side of less than 480 pixels are enlarged first, so that the legend can be
    read. Photos of more than `MAX_OVERLAY` pixels are made smaller first, so that the memory that
    an overlay needs has a bound.

    Args:
        image: The photo, RGB, of the label map's size.
        segmentation: The segmentation of the photo.
        opacity: Opacity of the class colours, 0 to 1. Background is not painted.
        legend: Whether to add each class's colour, name and share of the photo.

    Returns:
        An RGB image of the photo's size, unless that is very small or large; with a legend it is
        higher than the photo.

    Raises:
        ValueError: The photo and the label map differ in size.
    """
    labels = segmentation.labels
    if image.size != (labels.shape[1], labels.shape[0]):
        raise ValueError(
            f"Expected a photo of {labels.shape[1]} x {labels.shape[0]} pixels, as its label map "
            f"has; got {image.size[0]} x {image.size[1]}."
        )
    image, labels = _reduced(image, labels)
    image = image.convert("RGB")
    factor = max(1, -(-_SHORTEST_LONG_SIDE // max(image.size)))
    if factor > 1:
        size = (image.width * factor, image.height * factor)
        image = image.resize(size, Image.Resampling.BICUBIC)
        labels = labels.repeat(factor, 0).repeat(factor, 1)
    photo = np.asarray(image)
    ignored = segmentation.ignore_index
    painted = Image.fromarray(colour_labels(labels, segmentation.palette, ignored))
    mixed = np.asarray(Image.blend(image, painted, opacity))
    result = np.where((labels == ignored)[..., None], photo, mixed)
    result[_edges(labels)] = 255
    overlay = Image.fromarray(result)
    if not legend:
        return overlay
    below = _draw_legend(_legend_items(segmentation), overlay.width, max(overlay.size))
    canvas = Image.new("RGB", (overlay.width, overlay.height + below.height), "white")
    canvas.paste(overlay, (0, 0))
    canvas.paste(below, (0, overlay.height))
    return canvas


def _reduced(image: Image.Image, labels: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """The photo and its label map with at most `MAX_OVERLAY` pixels, by the nearest label."""
    if labels.size <= MAX_OVERLAY:
        return image, labels
    shorter = (MAX_OVERLAY / labels.size) ** 0.5
    width, height = (max(1, int(side * shorter)) for side in image.size)
    width, height = min(width, MAX_OVERLAY), min(height, MAX_OVERLAY)  # of a line of pixels
    rows, columns = (
        (np.arange(new) * 2 + 1) * old // (2 * new)
        for new, old in zip((height, width), labels.shape, strict=True)
    )
    small = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return small, labels[rows[:, None], columns]


def _edges(labels: np.ndarray) -> np.ndarray:
    """Pixels whose right or lower neighbour has another label."""
    edges = np.zeros(labels.shape, bool)
    edges[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    edges[:-1] |= labels[:-1] != labels[1:]
    return edges


@dataclass(frozen=True)
class _LegendItem:
    text: str
    colour: Colour


def _legend_items(segmentation: Segmentation) -> list[_LegendItem]:
    areas = segmentation.areas()
    entries = [
        _LegendItem(f"{name} {area:.1%}", segmentation.palette[segmentation.names.index(name)])
        for name, area in areas.items()
    ]
    left_out = len(entries) - _MOST_LISTED
    if left_out > 0:
        entries = [*entries[:_MOST_LISTED], _LegendItem(f"and {left_out} more", BACKGROUND)]
    rest = segmentation.background
    return [*entries, _LegendItem(f"(background) {rest:.1%}", BACKGROUND)] if rest else entries


def _draw_legend(items: list[_LegendItem], width: int, long_side: int) -> Image.Image:
    """Draw the items side by side, as many on a line as fit; long names are shortened."""
    size = min(48, max(14, round(long_side / 50)))
    font = load_font(size, "".join(item.text for item in items))
    swatch, gap = size, size // 2
    room = width - 2 * gap - swatch - gap
    texts = [_shorten(drawable(item.text, font), font, room) for item in items]
    line_height = round(size * 1.6)
    corners: list[tuple[int, int]] = []
    x, y = gap, gap
    for text in texts:
        needed = swatch + gap + round(font.getlength(text))
        if x > gap and x + needed > width - gap:
            x, y = gap, y + line_height
        corners.append((x, y))
        x += needed + 2 * gap
    legend = Image.new("RGB", (width, y + line_height + gap), "white")
    draw = ImageDraw.Draw(legend)
    for item, text, (left, top) in zip(items, texts, corners, strict=True):
        box = (left, top, left + swatch, top + swatch)
        draw.rectangle(box, fill=item.colour, outline="black")
        middle = top + swatch // 2
        draw.text((left + swatch + gap, middle), text, fill="black", font=font, anchor="lm")
    return legend


def _shorten(text: str, font: Font, room: int) -> str:
    """Shorten the name until the text fits; the share after it is kept."""
    name, _, share = text.rpartition(" ")
    while len(name) > 1 and font.getlength(text) > room:
        name = name[:-1]
        text = f"{name}... {share}"
    return text
