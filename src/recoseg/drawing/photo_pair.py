"""A photo beside the same photo with its masks, for pages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image

from recoseg.drawing.overlay import paint_classes
from recoseg.drawing.pages import thumbnail_uri
from recoseg.labels import Colour, Segmentation

LEAST_SHARE = 0.0005
"""Smallest share of a photo that is told: a smaller one would be read as 0.0 %."""


@dataclass(frozen=True)
class Share:
    """A class that a photo shows: its colour as `#rrggbb`, and its share of the photo as text."""

    name: str
    colour: str
    share: str


@dataclass(frozen=True)
class Pair:
    """A photo beside the same photo with its masks.

    Attributes:
        path: Path of the photo.
        name: Name of its outputs.
        photo: The photo as a data URI.
        masks: The photo with its masks, likewise.
        width: Width of each of the two pictures, pixels.
        height: Height of each, pixels.
        shares: The classes, largest first; empty if none was found.
    """

    path: str
    name: str
    photo: str
    masks: str
    width: int
    height: int
    shares: tuple[Share, ...]

    @property
    def text(self) -> str:
        """The classes and their shares in words."""
        return ", ".join(f"{item.name} {item.share}" for item in self.shares) or "no class"


@dataclass(frozen=True, eq=False)
class SmallResult:
    """A segmented photo, made small enough to keep many.

    Attributes:
        path: Path of the photo.
        name: Name of its outputs.
        image: The photo, RGB.
        segmentation: Its segmentation, of the same size.
        shares: The classes that the whole photo shows, largest first.
    """

    path: str
    name: str
    image: Image.Image
    segmentation: Segmentation
    shares: tuple[Share, ...]

    def pair(self, long_side: int, letters: float = 1 / 26) -> Pair:
        """Draw photo and masks.

        Args:
            long_side: Longest side of each picture, pixels; a smaller photo is not enlarged.
            letters: Height of the names of classes on the masks, as a share of the height.
        """
        photo, found = _shrunk(self.image, self.segmentation, long_side)
        size = max(12, round(letters * photo.height))
        masks = paint_classes(photo, found, letters=size)
        return Pair(
            path=self.path,
            name=self.name,
            photo=thumbnail_uri(photo, photo.height),
            masks=thumbnail_uri(masks, masks.height),
            width=photo.width,
            height=photo.height,
            shares=self.shares,
        )


def small_result(
    path: str, name: str, image: Image.Image, segmentation: Segmentation, long_side: int
) -> SmallResult:
    """Keep a photo and its label map with a long side of at most `long_side` pixels."""
    colours = dict(zip(segmentation.names, segmentation.palette, strict=True))
    shares = tuple(
        Share(class_name, hex_colour(colours[class_name]), f"{area:.1%}")
        for class_name, area in segmentation.areas().items()
        if area >= LEAST_SHARE
    )
    return SmallResult(path, name, *_shrunk(image, segmentation, long_side), shares)


def hex_colour(colour: Colour) -> str:
    """A colour as pages write it.

    Example:
        >>> hex_colour((0, 90, 190))
        '#005abe'
    """
    red, green, blue = colour
    return f"#{red:02x}{green:02x}{blue:02x}"


def _shrunk(
    image: Image.Image, segmentation: Segmentation, long_side: int
) -> tuple[Image.Image, Segmentation]:
    """A photo and, by the nearest label, its label map in at most this size."""
    small = image.copy()
    small.thumbnail((long_side, long_side), Image.Resampling.LANCZOS)
    rows, columns = (
        (np.arange(new) * 2 + 1) * old // (2 * new)
        for new, old in zip((small.height, small.width), segmentation.labels.shape, strict=True)
    )
    labels = segmentation.labels[rows[:, None], columns]
    return small, Segmentation(labels, segmentation.names, segmentation.palette)
