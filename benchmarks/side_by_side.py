"""Put a photo and overlays of it side by side, each with a title: the pictures of the docs.

python benchmarks/side_by_side.py PHOTO OUT "as published=paper/overlays/NAME.jpg"
"""

from __future__ import annotations

import argparse
from pathlib import Path

from PIL import Image, ImageDraw

from recoseg.drawing.fonts import load_font

_GAP = 8
_TITLE = 26


def side_by_side(parts: list[tuple[str, Image.Image]], width: int) -> Image.Image:
    """Draw pictures in a row, `width` pixels in all, each with its title above it."""
    each = (width - _GAP * (len(parts) - 1)) // len(parts)
    scaled = []
    for title, image in parts:
        height = round(image.height * each / image.width)
        scaled.append((title, image.resize((each, height), Image.Resampling.LANCZOS)))
    height = max(image.height for _, image in scaled)
    row = Image.new("RGB", (width, _TITLE + height), "white")
    draw = ImageDraw.Draw(row)
    for place, (title, image) in enumerate(scaled):
        left = place * (each + _GAP)
        draw.text((left + 1, 3), title, fill=(60, 60, 60), font=load_font(16))
        row.paste(image, (left, _TITLE))
    return row


def main() -> None:
    """Read the command line, and write the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("overlays", nargs="+", metavar="TITLE=FILE")
    parser.add_argument("--width", type=int, default=1200, help="of the picture, pixels")
    options = parser.parse_args()
    files = [("photo", str(options.photo))]
    files += [(title, file) for title, _, file in (one.partition("=") for one in options.overlays)]
    parts = [(title, Image.open(file).convert("RGB")) for title, file in files]
    side_by_side(parts, options.width).save(options.out, quality=85)


if __name__ == "__main__":
    main()
