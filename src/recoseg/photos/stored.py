"""The numbers that are stored in image files, such as labels, as they are."""

from __future__ import annotations

import re

import numpy as np
from PIL import Image

from recoseg.errors import BadImageError

# Pillow's names of what files hold: grey of few bits, and channels of 16 bits.
_FEW_BITS = re.compile(r"L;([24])I?R?")
_WIDE_COLOUR = re.compile(r"(?!I).*;16[BLN]?")
_WITH_ALPHA = ("LA", "La", "PA")


def stored_values(image: Image.Image) -> np.ndarray:
    """The numbers in an opened image; of a palette image the indices.

    Decoders spread grey of 2 and 4 bits to the range of 8 bits, so that 1 becomes 85 or 17, and cut
    the lower half off colour of 16 bits. The former is undone here, and the latter refused.

    Args:
        image: An image that has been opened, and whose pixels have not been decoded yet.

    Returns:
        (h, w) numbers, truth values for 1 bit, or (h, w, c) for colour. Transparency beside grey or
        a palette is left out.

    Raises:
        BadImageError: Its channels have 16 bits.
        Exception: It is damaged; decoders raise errors of many types.
    """
    form = _form(image)
    if image.mode not in ("L", "I", "F") and _WIDE_COLOUR.fullmatch(form):
        raise BadImageError(
            "several channels of 16 bits, of which only the upper 8 would be read; expected one "
            "channel, or channels of 8 bits"
        )
    values = np.asarray(image)
    few = _FEW_BITS.fullmatch(form)
    if few:
        values = values // (255 // (2 ** int(few[1]) - 1))
    return values[..., 0] if image.mode in _WITH_ALPHA else values


def _form(image: Image.Image) -> str:
    """What the file holds, as Pillow calls it; empty where it does not tell."""
    tiles = getattr(image, "tile", None)  # only images from files have it
    if not tiles:
        return ""
    parts = tiles[0][3]
    found = parts[0] if isinstance(parts, tuple) and parts else parts
    return found if isinstance(found, str) else ""
