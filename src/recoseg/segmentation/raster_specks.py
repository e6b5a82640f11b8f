"""Removing specks from the labels of a raster, when all of its tiles are labelled.

It is done block by block, with so many labels around each one that blocks leave no trace. Scores
are not needed for it, so that no tile has to be scored and refined as far around as specks reach.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import ceil

import numpy as np
from jaxtyping import UInt

from recoseg.rasters.boxes import Box, tiles_over
from recoseg.segmentation.specks import SpeckRule

LARGEST_SPECK = 1024
"""Largest number of pixels of the parts that are removed from the labels of a raster."""

_BLOCK = 2048
"""Side of a block, pixels; with 1,024 pixels around it (the most), cleaning takes 0.7 GB."""


def specks_of(rule: SpeckRule, window: int) -> SpeckRule:
    """A rule for photos as one for a raster: in pixels, a share being one of a window.

    Args:
        rule: The rule.
        window: Side of a window, pixels of the raster.
    """
    least = min(rule.pixels(window, window), LARGEST_SPECK)
    return SpeckRule(least if least >= 1 else 0)


def cleaned(
    raster_hw: tuple[int, int],
    tiles: Sequence[Box],
    read: Callable[[int], UInt[np.ndarray, "2 h w"]],
    specks: SpeckRule,
    ignored: int,
) -> Iterator[tuple[Box, UInt[np.ndarray, "h w"]]]:
    """The labels of a raster without specks, part by part.

    Args:
        raster_hw: Size of the raster, pixels.
        tiles: The tiles, all of which are labelled.
        read: Labels and validity (1 or 0) of the pixels of a tile, given its number.
        specks: Which parts are too small, in pixels.
        ignored: The label of pixels without data.
    """
    blocks = tiles if specks.is_idle else blocks_of(raster_hw)
    # A part that reaches into a block, and does not end in what is around it, is no speck.
    margin = ceil(specks.min_area)
    for block in blocks:
        around = block.grown(margin, raster_hw)
        labels, valid = _joined(around, tiles, read)
        found = specks.clean(labels, valid != 0)
        yield block, np.where(valid, found, ignored)[block.within(around)].astype(labels.dtype)


def blocks_of(raster_hw: tuple[int, int]) -> list[Box]:
    """The blocks of a raster that are cleaned one after the other."""
    return tiles_over(raster_hw, (_BLOCK, _BLOCK))


def _joined(
    box: Box, tiles: Sequence[Box], read: Callable[[int], UInt[np.ndarray, "2 h w"]]
) -> UInt[np.ndarray, "2 h w"]:
    """What is known of the pixels of a box, from the tiles that it overlaps."""
    joined: np.ndarray | None = None
    for number, tile in enumerate(tiles):
        shared = tile.shared(box)
        if shared is None:
            continue
        part = read(number)
        if joined is None:
            joined = np.empty((2, box.height, box.width), part.dtype)
        joined[(slice(None), *shared.within(box))] = part[(slice(None), *shared.within(tile))]
    assert joined is not None
    return joined
