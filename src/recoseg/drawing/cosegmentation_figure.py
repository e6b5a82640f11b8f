"""The co-segmentation of a class at a glance (supplement, Figure 1)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int64
from PIL import Image, ImageDraw
from torch import Tensor

from recoseg.drawing.fonts import drawable, fitting_end, load_font

_RED = np.array([255.0, 0.0, 0.0])


def cosegmentation_figure(
    images: Sequence[Image.Image],
    support: Float[Tensor, "k h w"],
    seeds: Int64[Tensor, "k s 2"],
    title: str,
    *,
    captions: Sequence[str] = (),
    columns: int = 5,
    height: int = 224,
) -> Image.Image:
    """The first retrieved images in a row, red where support is high, seed pixels marked.

    Args:
        images: The retrieved images, best first, each covering the whole grid.
        support: Support scores of each image.
        seeds: Seed pixels of each image as (y, x), cells of the grid.
        title: Text above the row, such as the class's name.
        captions: Text below each image shown, such as its file's name; cut off where it is wider
            than the image.
        columns: Maximum number of images shown.
        height: Height of each image in the figure, pixels.

    Returns:
        An RGB image.

    Raises:
        ValueError: No image is given, or there are fewer support maps than images to show.
    """
    panels = support_panels(images, support, seeds, columns=columns, height=height)
    gap, size = max(4, height // 40), max(14, height // 12)
    font = load_font(size, title)
    title = drawable(title, font)
    width = max(
        sum(panel.width for panel in panels) + gap * (len(panels) + 1),
        round(font.getlength(title)) + 2 * gap,
    )
    top = round(size * 1.5) + gap
    letters = max(11, height // 17)
    small = load_font(letters, "".join(captions))
    below = round(1.5 * letters) if captions else 0
    figure = Image.new("RGB", (width, top + height + below + gap), "white")
    draw = ImageDraw.Draw(figure)
    draw.text((gap, top // 2), title, fill="black", font=font, anchor="lm")
    left = gap
    lines = [*captions, *[""] * len(panels)][: len(panels)]
    for panel, caption in zip(panels, lines, strict=True):
        figure.paste(panel, (left, top))
        text = fitting_end(drawable(caption, small), small, panel.width)
        draw.text((left, top + height + gap), text, fill="black", font=small)
        left += panel.width + gap
    return figure


def support_panels(
    images: Sequence[Image.Image],
    support: Float[Tensor, "k h w"],
    seeds: Int64[Tensor, "k s 2"],
    *,
    columns: int = 5,
    height: int = 224,
) -> list[Image.Image]:
    """The pictures of `cosegmentation_figure` one by one, without its title.

    Raises:
        ValueError: No image was given, or there are fewer support maps than images to show.
    """
    shown = min(columns, len(images))
    if shown < 1 or len(support) < shown or len(seeds) < shown:
        raise ValueError(
            f"Expected at least one image, and support and seeds for each; got {len(images)} "
            f"images, {len(support)} support maps and seeds of {len(seeds)} images."
        )
    maps = support[:shown].float().cpu().numpy()
    low, high = float(maps.min()), float(maps.max())
    maps = (maps - low) / max(high - low, 1e-12)
    return [
        _panel(image, heat, seeds[index].tolist(), height)
        for index, (image, heat) in enumerate(zip(images[:shown], maps, strict=True))
    ]


def _panel(
    image: Image.Image, heat: np.ndarray, seeds: Sequence[Sequence[int]], height: int
) -> Image.Image:
    """One image of the row; `heat` in [0, 1] on the grid."""
    size = (max(1, round(image.width * height / image.height)), height)
    photo = np.asarray(image.convert("RGB").resize(size, Image.Resampling.BICUBIC), np.float32)
    smooth = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    share = 0.8 * np.asarray(smooth)[..., None] ** 2
    panel = Image.fromarray((photo * (1 - share) + _RED * share).round().astype(np.uint8))
    draw = ImageDraw.Draw(panel)
    radius = max(2, height // 45)
    for y, x in reversed(seeds):  # the best on top
        centre_y = (y + 0.5) * size[1] / heat.shape[0]
        centre_x = (x + 0.5) * size[0] / heat.shape[1]
        for reach, colour in ((radius + 2, "black"), (radius + 1, "white"), (radius - 1, "lime")):
            box = (centre_x - reach, centre_y - reach, centre_x + reach, centre_y + reach)
            draw.ellipse(box, fill=colour)
    return panel
