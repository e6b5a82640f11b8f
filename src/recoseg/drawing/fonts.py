"""Fonts for captions and legends."""

from __future__ import annotations

import contextlib
import unicodedata

from PIL import ImageFont

from recoseg.storage.shown import shown

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

    ASCII text gets Pillow's own font, which is the same everywhere; other text gets the first
    common system font that is installed. See `drawable` for text that no font can draw.
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
    """The text in one line as the font can draw it.

    Pillow's font gets no accents, and ? for other scripts.
    """
    text = shown(text)
    if text.isascii() or (isinstance(font, ImageFont.FreeTypeFont) and isinstance(font.path, str)):
        return text
    plain = unicodedata.normalize("NFKD", text)
    kept = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return kept.encode("ascii", "replace").decode()


def fitting_end(text: str, font: Font, room: float) -> str:
    """The text, or its end after dots if it is too long: names of photos differ at their ends.

    Args:
        text: Text that the font can draw.
        font: The font.
        room: Width, pixels.
    """
    if font.getlength(text) <= room:
        return text
    while text and font.getlength(f"...{text}") > room:
        text = text[1:]
    return f"...{text}"
