"""Rectangles of pixels, and tiles that divide a raster."""

from __future__ import annotations

from typing import NamedTuple

ALIGNED = 512
"""Tiles begin at multiples of this many pixels, which are the blocks of the files of labels."""


class Box(NamedTuple):
    """A rectangle of pixels.

    Attributes:
        top: First row.
        left: First column.
        height: Number of rows.
        width: Number of columns.
    """

    top: int
    left: int
    height: int
    width: int

    @property
    def bottom(self) -> int:
        """The row after the last one."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """The column after the last one."""
        return self.left + self.width

    def within(self, other: Box) -> tuple[slice, slice]:
        """The rows and columns of this box, counted from the first ones of a box around it."""
        top, left = self.top - other.top, self.left - other.left
        return slice(top, top + self.height), slice(left, left + self.width)

    def shared(self, other: Box) -> Box | None:
        """The pixels that two boxes share; None where there are none.

        Example:
            >>> tuple(Box(0, 0, 4, 4).shared(Box(2, 3, 9, 9)))
            (2, 3, 2, 1)
        """
        top, left = max(self.top, other.top), max(self.left, other.left)
        bottom, right = min(self.bottom, other.bottom), min(self.right, other.right)
        return Box(top, left, bottom - top, right - left) if top < bottom and left < right else None

    def grown(self, margin: int, raster_hw: tuple[int, int]) -> Box:
        """The box with some pixels around it, as far as the raster has them.

        Example:
            >>> tuple(Box(2, 0, 3, 4).grown(1, (9, 4)))
            (1, 0, 5, 4)
        """
        top, left = max(0, self.top - margin), max(0, self.left - margin)
        bottom, right = (
            min(side, end + margin)
            for side, end in zip(raster_hw, (self.bottom, self.right), strict=True)
        )
        return Box(top, left, bottom - top, right - left)


def tiles_over(raster_hw: tuple[int, int], tile_hw: tuple[int, int]) -> list[Box]:
    """Divide a raster into tiles, row by row; those at its right and bottom may be smaller.

    Args:
        raster_hw: Size of the raster, pixels.
        tile_hw: Size of a tile, pixels.

    Example:
        >>> [tuple(tile) for tile in tiles_over((5, 3), (4, 2))]
        [(0, 0, 4, 2), (0, 2, 4, 1), (4, 0, 1, 2), (4, 2, 1, 1)]
    """
    height, width = raster_hw
    return [
        Box(top, left, min(tile_hw[0], height - top), min(tile_hw[1], width - left))
        for top in range(0, height, tile_hw[0])
        for left in range(0, width, tile_hw[1])
    ]


def tile_size(raster_hw: tuple[int, int], block_hw: tuple[int, int], most: int) -> tuple[int, int]:
    """Height and width of the tiles that a raster is divided into.

    Rasters that are stored in tiles are divided into squares. Those that are stored in rows, as
    JPEG and PNG are, are divided into strips, so that no row is decoded again and again.

    Args:
        raster_hw: Size of the raster, pixels.
        block_hw: Size of the blocks that it is stored in.
        most: Pixels of a tile at most, unless a single row of blocks of `ALIGNED` has more.

    Example:
        >>> tile_size((20000, 30000), (256, 256), 10_000_000)
        (3072, 3072)
        >>> tile_size((20000, 10000), (1, 10000), 10_000_000)
        (512, 10240)
    """
    height, width = (-(-side // ALIGNED) * ALIGNED for side in raster_hw)
    if block_hw[1] < raster_hw[1]:
        side = max(1, int(most**0.5) // ALIGNED) * ALIGNED
        return min(side, height), min(side, width)
    rows = max(1, most // width // ALIGNED) * ALIGNED
    return min(rows, height), width
