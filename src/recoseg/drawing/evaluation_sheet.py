"""A contact sheet of photos, with truth and prediction painted over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
from PIL import Image, ImageDraw

from recoseg.drawing.fonts import drawable, fitting_end, load_font
from recoseg.drawing.overlay import paint_classes
from recoseg.labels import IGNORE_INDEX, Colour, Segmentation

_COLUMNS = ("photo", "truth", "prediction")
_GAP = 6  # between the panels of a row
_MARGIN = 24  # round the sheet, and between groups
_TALLEST = 1.0  # times the panel's width; higher photos are made smaller
_GREY = (110, 110, 110)


@dataclass(frozen=True, eq=False)
class SheetRow:
    """One photo of a contact sheet.

    Attributes:
        name: Name of the photo.
        miou: mIoU of the photo, in [0, 1]; None where it has no labelled pixel.
        image: The photo.
        target: True labels (h, w), uint8, 255 for void.
        preds: Predicted labels (h, w), uint8, 255 for no prediction.
        group: Heading of the group that the row belongs to, such as "best".
    """

    name: str
    miou: float | None
    image: Image.Image
    target: np.ndarray
    preds: np.ndarray
    group: str = ""


def contact_sheet(
    rows: Sequence[SheetRow],
    palette: Sequence[Colour],
    names: Sequence[str],
    *,
    panel_width: int = 320,
) -> Image.Image:
    """Photo, truth and prediction side by side, with a legend of the classes that occur.

    Groups of rows are placed side by side, such as the best photos left and the worst right.

    Args:
        rows: The photos, those of each group from top to bottom.
        palette: RGB of each class.
        names: Name of each class.
        panel_width: Width of each of the three pictures, pixels.

    Returns:
        An RGB image. Truth and prediction are painted over the photo, with the names of classes on
        their largest regions, as overlays are; pixels without a class show the photo.

    Raises:
        ValueError: No row is given.
    """
    if not rows:
        raise ValueError("Expected at least one row; got none. There is nothing to show.")
    groups: dict[str, list[SheetRow]] = {}
    for row in rows:
        groups.setdefault(row.group, []).append(row)
    size = max(13, round(panel_width / 17))
    cell_width = 3 * panel_width + 2 * _GAP
    blocks = [_beside([_titles(group, panel_width, size) for group in groups], cell_width)]
    blocks += [
        _beside(
            [_cell(row, palette, names, panel_width, size) if row else None for row in line],
            cell_width,
        )
        for line in zip_longest(*groups.values())
    ]
    blocks.append(_legend(_present(rows, palette, names), blocks[0].width, size))
    height = sum(block.height for block in blocks)
    sheet = Image.new("RGB", (blocks[0].width + 2 * _MARGIN, height + 2 * _MARGIN), "white")
    top = _MARGIN
    for block in blocks:
        sheet.paste(block, (_MARGIN, top))
        top += block.height
    return sheet


def _present(
    rows: Sequence[SheetRow], palette: Sequence[Colour], names: Sequence[str]
) -> list[tuple[str, Colour]]:
    """Name and colour of the classes that occur, in the order of their labels."""
    maps = [labels for row in rows for labels in (row.target, row.preds)]
    labels = np.unique(np.concatenate([np.unique(labels) for labels in maps])).tolist()
    return [(names[label], palette[label]) for label in labels if label != IGNORE_INDEX]


def _titles(group: str, panel_width: int, size: int) -> Image.Image:
    """The group's name, if any, and below it the names of the three columns."""
    large = round(size * 1.4)
    top = round(large * 1.6) if group else 0
    strip = Image.new("RGB", (3 * panel_width + 2 * _GAP, top + round(size * 1.7)), "white")
    draw = ImageDraw.Draw(strip)
    font = load_font(large, group)
    draw.text((0, large // 2), drawable(group, font), fill="black", font=font, anchor="lm")
    font = load_font(size)
    for column, title in enumerate(_COLUMNS):
        middle = column * (panel_width + _GAP) + panel_width // 2
        draw.text((middle, top + size // 2), title, fill=_GREY, font=font, anchor="mm")
    return strip


def _cell(
    row: SheetRow, palette: Sequence[Colour], names: Sequence[str], width: int, size: int
) -> Image.Image:
    """The three pictures of one photo above its name and mIoU."""
    photo = row.image.convert("RGB")
    scale = min(width / photo.width, width * _TALLEST / photo.height)
    hw = (max(1, round(photo.width * scale)), max(1, round(photo.height * scale)))
    panels = [photo.resize(hw, Image.Resampling.LANCZOS)]
    for labels in (row.target, row.preds):
        small = np.asarray(Image.fromarray(labels).resize(hw, Image.Resampling.NEAREST))
        found = Segmentation(small, tuple(names), tuple(palette))
        panels.append(paint_classes(panels[0], found, letters=max(12, width // 24)))
    caption = round(size * 1.6)
    cell = Image.new("RGB", (3 * width + 2 * _GAP, hw[1] + caption + _MARGIN // 2), "white")
    draw = ImageDraw.Draw(cell)
    for column, panel in enumerate(panels):
        left = column * (width + _GAP) + (width - hw[0]) // 2
        cell.paste(panel, (left, 0))
    font = load_font(size, row.name)
    score = "no labelled pixel" if row.miou is None else f"mIoU {100 * row.miou:.1f} %"
    middle = hw[1] + caption // 2 + 1
    draw.text((cell.width, middle), score, fill="black", font=font, anchor="rm")
    room = cell.width - font.getlength(score) - size
    name = fitting_end(drawable(row.name, font), font, room)
    draw.text((0, middle), name, fill=_GREY, font=font, anchor="lm")
    return cell


def _beside(cells: Sequence[Image.Image | None], width: int) -> Image.Image:
    """Pictures of equal width in a row; None leaves a gap."""
    height = max(cell.height for cell in cells if cell)
    strip = Image.new("RGB", (len(cells) * (width + _MARGIN) - _MARGIN, height), "white")
    for column, cell in enumerate(cells):
        if cell:
            strip.paste(cell, (column * (width + _MARGIN), 0))
    return strip


def _legend(entries: Sequence[tuple[str, Colour]], width: int, size: int) -> Image.Image:
    """Colours and names in columns that are as wide as the longest name, read downwards."""
    font = load_font(size, "".join(name for name, _ in entries))
    texts = [drawable(name, font) for name, _ in entries]
    longest = max((round(font.getlength(text)) for text in texts), default=0)
    column = min(width, size + size // 2 + longest + 2 * size)
    columns = max(1, width // column)
    lines = -(-len(entries) // columns)
    line = round(size * 1.6)
    legend = Image.new("RGB", (width, lines * line + size // 2), "white")
    draw = ImageDraw.Draw(legend)
    for index, ((_, colour), text) in enumerate(zip(entries, texts, strict=True)):
        left, top = index // lines * column, index % lines * line + size // 2
        draw.rectangle((left, top, left + size, top + size), fill=colour, outline=_GREY)
        text = fitting_end(text, font, column - 2 * size)
        text_at = (left + size + size // 2, top + size // 2)
        draw.text(text_at, text, fill="black", font=font, anchor="lm")
    return legend
