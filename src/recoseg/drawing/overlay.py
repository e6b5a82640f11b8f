"""A photo with its classes painted over it, their names on it, and a legend below."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from recoseg.drawing.fonts import Font, drawable, load_font
from recoseg.drawing.palette import BACKGROUND, colour_labels
from recoseg.labels import Colour, Segmentation, nearest_labels

MAX_OVERLAY = 16_000_000
"""Photos of more pixels are made smaller before they are painted over, to this many."""

_SHORTEST_LONG_SIDE = 480
_MOST_LISTED = 60

LEAST_SHARE = 0.0005
"""Smallest share of a photo that is told: a smaller one would be read as 0.0 %."""

_LEAST_NAMED = 0.01
"""Smallest share of a photo of a class that is named on the photo itself."""

_CONTOUR = 0.75
"""Opacity of the white contours."""

_THICKEST_SPECK = 1 / 80
"""Specks that are thinner than this share of the long side have no contour."""

_CELLS = 128
"""Cells of the long side of the grid on which places for names are found."""


def draw_overlay(
    image: Image.Image, segmentation: Segmentation, *, opacity: float = 0.5, legend: bool = True
) -> Image.Image:
    """Paint the classes over a photo.

    Photos with a long side of less than 480 pixels are enlarged first, so that the legend can be
    read. Photos of more than `MAX_OVERLAY` pixels are made smaller first, so that the memory that
    an overlay needs has a bound.

    Args:
        image: The photo, RGB, of the label map's size.
        segmentation: The segmentation of the photo.
        opacity: Opacity of the class colours, 0 to 1. Background is not painted.
        legend: Whether to write the names of classes onto their largest regions, and to add each
            class's colour, name and share of the photo below it.

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
    factor = max(1, -(-_SHORTEST_LONG_SIDE // max(image.size)))
    if factor > 1:
        size = (image.width * factor, image.height * factor)
        image = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        labels = labels.repeat(factor, 0).repeat(factor, 1)
    letters = _font_size(max(image.size)) if legend else 0
    shown = Segmentation(labels, segmentation.names, segmentation.palette)
    overlay = paint_classes(image, shown, opacity=opacity, letters=letters)
    if not legend:
        return overlay
    below = _draw_legend(_legend_items(segmentation), overlay.width, max(overlay.size))
    canvas = Image.new("RGB", (overlay.width, overlay.height + below.height), "white")
    canvas.paste(overlay, (0, 0))
    canvas.paste(below, (0, overlay.height))
    return canvas


def paint_classes(
    image: Image.Image, segmentation: Segmentation, *, opacity: float = 0.5, letters: int = 0
) -> Image.Image:
    """Paint the classes over a photo as `draw_overlay` does, at the photo's own size.

    Args:
        image: The photo, of the label map's size.
        segmentation: The segmentation of the photo.
        opacity: Opacity of the class colours, 0 to 1. Background is not painted.
        letters: Height of the names that are written onto the largest regions of classes, pixels;
            0 writes none.

    Returns:
        An RGB image of the photo's size.
    """
    image, labels, ignored = image.convert("RGB"), segmentation.labels, segmentation.ignore_index
    photo = np.asarray(image)
    painted = Image.fromarray(colour_labels(labels, segmentation.palette, ignored))
    mixed = np.asarray(Image.blend(image, painted, opacity))
    result = np.where((labels == ignored)[..., None], photo, mixed)
    contours = _contours(labels)
    result[contours] = (_CONTOUR * 255 + (1 - _CONTOUR) * result[contours]).astype(np.uint8)
    overlay = Image.fromarray(result)
    if letters:
        _draw_names(overlay, labels, segmentation.names, letters)
    return overlay


def _reduced(image: Image.Image, labels: np.ndarray) -> tuple[Image.Image, np.ndarray]:
    """The photo and its label map with at most `MAX_OVERLAY` pixels, by the nearest label."""
    if labels.size <= MAX_OVERLAY:
        return image, labels
    shorter = (MAX_OVERLAY / labels.size) ** 0.5
    width, height = (max(1, int(side * shorter)) for side in image.size)
    width, height = min(width, MAX_OVERLAY), min(height, MAX_OVERLAY)  # of a line of pixels
    small = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    return small, nearest_labels(labels, (height, width))


def _contours(labels: np.ndarray) -> np.ndarray:
    """Pixels before a border of two regions, both of which are wide enough there."""
    least = max(2, round(max(labels.shape) * _THICKEST_SPECK))
    contours = np.zeros(labels.shape, bool)
    _add_borders(labels, contours, least)
    _add_borders(labels.T, contours.T, least)
    return contours


def _add_borders(labels: np.ndarray, contours: np.ndarray, least: int) -> None:
    """Mark the pixels whose right neighbour differs, with `least` equal pixels on either side."""
    change = labels[:, 1:] != labels[:, :-1]
    rows, at = change.nonzero()
    if not len(at):
        return
    # The changes of a row follow each other; beyond its ends there is room enough.
    before = np.full(len(at), least)
    after = before.copy()
    same_row = rows[1:] == rows[:-1]
    gaps = np.where(same_row, at[1:] - at[:-1], least)
    before[1:], after[:-1] = gaps, gaps
    kept = (before >= least) & (after >= least)
    contours[rows[kept], at[kept]] = True


def _draw_names(overlay: Image.Image, labels: np.ndarray, names: Sequence[str], size: int) -> None:
    """Write the name of each class into the middle of its largest part, if it fits there."""
    step = -(-max(labels.shape) // _CELLS)
    small = labels[step // 2 :: step, step // 2 :: step]
    draw = ImageDraw.Draw(overlay)
    for label in np.unique(small).tolist():
        if label >= len(names):  # background
            continue
        mask = small == label
        if mask.mean() < _LEAST_NAMED:
            continue
        depth = _depth(mask)
        y, x = np.unravel_index(depth.argmax(), depth.shape)
        room = 2 * step * int(depth[y, x])  # side of the largest square within the region
        font = load_font(size, names[label])
        text = drawable(names[label], font)
        length = font.getlength(text)
        if length > 1.2 * room or size > room:
            continue
        half = min(length / 2 + 2, overlay.width / 2)
        across = min(max(int(x) * step + step // 2, half), overlay.width - half)
        place = (across, int(y) * step + step // 2)
        stroke = max(1, size // 10)
        draw.text(place, text, "white", font, anchor="mm", stroke_width=stroke, stroke_fill="black")


def _depth(mask: np.ndarray) -> np.ndarray:
    """Steps from each cell of a mask to the nearest cell outside, as a king moves in chess."""
    depth = mask.astype(np.int32)
    rest = np.pad(mask, 1)
    while True:
        rows = rest[:-2] & rest[1:-1] & rest[2:]
        rest = np.pad(rows[:, :-2] & rows[:, 1:-1] & rows[:, 2:], 1)
        if not rest.any():
            return depth
        depth += rest[1:-1, 1:-1]


@dataclass(frozen=True)
class _LegendItem:
    text: str
    colour: Colour


def _legend_items(segmentation: Segmentation) -> list[_LegendItem]:
    areas = segmentation.areas()
    entries = [
        _LegendItem(f"{name} {area:.1%}", segmentation.palette[segmentation.names.index(name)])
        for name, area in areas.items()
        if area >= LEAST_SHARE
    ]
    left_out = len(entries) - _MOST_LISTED
    if left_out > 0:
        entries = [*entries[:_MOST_LISTED], _LegendItem(f"and {left_out} more", BACKGROUND)]
    rest = segmentation.background
    if rest >= LEAST_SHARE or not entries:
        entries.append(_LegendItem(f"(background) {rest:.1%}", BACKGROUND))
    return entries


def _draw_legend(items: list[_LegendItem], width: int, long_side: int) -> Image.Image:
    """Draw the items side by side, as many on a line as fit; long names are shortened."""
    size = _font_size(long_side)
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


def _font_size(long_side: int) -> int:
    """The same share of every overlay, pixels, so that all look alike at the same width."""
    return min(64, max(14, round(long_side / 42)))


def _shorten(text: str, font: Font, room: int) -> str:
    """Shorten the name until the text fits; the share after it is kept."""
    name, _, share = text.rpartition(" ")
    while len(name) > 1 and font.getlength(text) > room:
        name = name[:-1]
        text = f"{name}... {share}"
    return text
