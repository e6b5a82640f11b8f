"""Input size and resizing of encoders that embed whole photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Resize = Literal["short", "squash", "fit"]
"""How a photo is resized to a square; see `Frame`."""


@dataclass(frozen=True)
class Frame:
    """How a photo is resized for an image-text encoder.

    Attributes:
        size: Side of the square input, in pixels.
        resize: `short`: resize the short side to `size`, then take the centre crop. `squash`:
            resize to size x size without keeping the aspect ratio. `fit`: resize the long side to
            `size` and fill the rest with black.
        interpolation: `bicubic` or `bilinear`, both anti-aliased.
    """

    size: int
    resize: Resize = "short"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
