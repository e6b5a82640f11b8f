"""How a photo becomes the input of an encoder of whole photos."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Resize = Literal["short", "squash", "fit"]


@dataclass(frozen=True)
class Frame:
    """How a photo becomes the input of an image-text encoder.

    Attributes:
        size: Side of the square input, in pixels.
        resize: `short`: short side to `size`, then a centre crop; `squash`: to size x size
            without keeping the aspect ratio; `fit`: long side to `size`, the rest black.
        interpolation: `bicubic` or `bilinear`, both anti-aliased.
    """

    size: int
    resize: Resize = "short"
    interpolation: Literal["bicubic", "bilinear"] = "bicubic"
