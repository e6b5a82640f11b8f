"""Fonts for captions and legends."""

from __future__ import annotations

import contextlib
import unicodedata

from PIL import ImageFont

_SYSTEM_FONTS = (
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "Arial.ttf",
    "LiberationSans-Regular.ttf",
)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def load_font(size: int, text: str = "") -> Font:
    """A font in this size that can draw the text.

    Pillow's own font, which is the same everywhere, where the text is ASCII; else the first of
    the common system fonts. See `drawable` for what is left.
    """
    if not text.isascii():
        for name in _SYSTEM_FONTS:
            with contextlib.suppress(OSError):
                return ImageFont.truetype(name, size)
    try:
        return ImageFont.load_default(size)
    except ImportError:  # Pillow was built without FreeType: its one bitmap size
        return ImageFont.load_default()


def drawable(text: str, font: Font) -> str:
    """The text; without accents, and with ? for other scripts, where only Pillow's font is had."""
    if text.isascii() or (isinstance(font, ImageFont.FreeTypeFont) and isinstance(font.path, str)):
        return text
    plain = unicodedata.normalize("NFKD", text.replace("…", "..."))
    kept = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return kept.encode("ascii", "replace").decode()
