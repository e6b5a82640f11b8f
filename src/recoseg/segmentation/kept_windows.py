"""Scores of windows that the next tiles of a raster need again.

Tiles overlap by the windows along their sides. Without memory of them, each would be encoded for up
to four tiles, and its scores are much smaller than what the encoder needs.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from recoseg.rasters.boxes import Box

Place = tuple[int, int]
"""First row and first column of a window."""

WindowScores = Mapping[Hashable, Float[Tensor, "c gh gw"]]
"""The scores of one window by each branch, by the branch's key."""


class KeptWindows:
    """Scores of windows by their places in a raster.

    Args:
        side: Side of a window, pixels.
        most: Bytes that are kept beyond a tile.
    """

    def __init__(self, side: int, most: int) -> None:
        self._side, self._most = side, most
        self._scores: dict[Place, WindowScores] = {}

    def part(self, origin: Place) -> KeptPart:
        """Those of a part of the raster that begins at some pixel."""
        return KeptPart(self._scores, origin)

    def forget(self, tile: Box, margin: int) -> None:
        """Forget what no tile after this one needs, in the order of `tiles_over`.

        What is left is needed by the next tile of the row or by the next row. If it is too much,
        that of the next row goes first, and of this the part that is needed last.

        Args:
            tile: The tile that has just been labelled.
            margin: Pixels around each tile that are labelled, too.
        """
        right, bottom = tile.right - margin, tile.bottom - margin
        for top, left in list(self._scores):
            if left + self._side <= right and top + self._side <= bottom:
                del self._scores[top, left]
        sizes = {
            place: sum(one.numel() * one.element_size() for one in scores.values())
            for place, scores in self._scores.items()
        }
        excess = sum(sizes.values()) - self._most
        is_soon = {place: place[1] + self._side > right for place in sizes}
        for place in sorted(sizes, key=lambda place: (is_soon[place], -place[1])):
            if excess <= 0:
                return
            excess -= sizes[place]
            del self._scores[place]

    def __len__(self) -> int:
        return len(self._scores)


@dataclass(frozen=True, eq=False)
class KeptPart:
    """The kept windows of a part of a raster, by their places in that part."""

    _scores: dict[Place, WindowScores]
    _origin: Place

    def get(self, place: Place) -> WindowScores | None:
        """The scores of a window; None if they are not kept."""
        return self._scores.get(self._absolute(place))

    def keep(self, place: Place, scores: WindowScores) -> None:
        """Keep the scores of a window."""
        self._scores[self._absolute(place)] = {key: one.clone() for key, one in scores.items()}

    def _absolute(self, place: Place) -> Place:
        return place[0] + self._origin[0], place[1] + self._origin[1]
