"""Some rows and columns of the scores of a photo."""

from __future__ import annotations

from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.segmentation.fused_scores import FusedScores
from recoseg.segmentation.upsample import ALL
from recoseg.segmentation.voting import VotedScores


class ScoresWithin:
    """The scores of a rectangle of a photo, as if it were a photo.

    Args:
        whole: The scores of the photo.
        rows: Rows of the rectangle.
        columns: Columns of the rectangle.
    """

    def __init__(self, whole: FusedScores | VotedScores, rows: slice, columns: slice) -> None:
        self._whole = whole
        height, width = whole.output_hw
        self._rows, self._columns = range(height)[rows], range(width)[columns]

    @property
    def output_hw(self) -> tuple[int, int]:
        """Size of the rectangle, pixels."""
        return len(self._rows), len(self._columns)

    def pixels(self, rows: slice = ALL, columns: slice = ALL) -> UInt8[Tensor, "3 strip w"]:
        """The rectangle of the photo, or a part of it, on the scores' device."""
        return self._whole.pixels(_part(self._rows, rows), _part(self._columns, columns))

    def __call__(self, start: int, end: int, columns: slice = ALL) -> Float[Tensor, "c strip w"]:
        """The scores of rows `start` to `end` (exclusive), of all columns or some."""
        rows = _part(self._rows, slice(start, end))
        return self._whole(rows.start, rows.stop, _part(self._columns, columns))


def _part(places: range, part: slice) -> slice:
    """Some of the rows or columns of the rectangle, counted in the photo."""
    chosen = places[part]
    return slice(chosen.start, chosen.stop)
