"""Windows over a raster of any size, of which any part can be segmented by itself.

The windows are those over the whole raster, as if it were a photo that is segmented at its own size
with sliding windows. A part of the raster needs the windows that overlap it, and no others, so that
its scores are those of the whole raster, wherever the raster is divided.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from recoseg.rasters.boxes import Box
from recoseg.segmentation.input_plan import InputPlan
from recoseg.segmentation.windows import WHOLE, Windows, window_starts

DEFAULT_SIDE = 320
"""Side of a window of the encoders' input where no size of input is asked for, pixels."""


class Region(NamedTuple):
    """What is read of a raster to label a part of it.

    Attributes:
        box: The pixels that are read.
        input_hw: Size to which they are scaled for the encoders.
        windows: The windows over that input.
    """

    box: Box
    input_hw: tuple[int, int]
    windows: Windows


class _Span(NamedTuple):
    """A region along one axis: its pixels, the length of its input, and its windows there."""

    start: int
    end: int
    length: int
    starts: tuple[int, ...]


@dataclass(frozen=True)
class RasterWindows:
    """The windows over a raster.

    Attributes:
        raster_hw: Size of the raster, pixels.
        side: Side of a window of the encoders' input, pixels.
        step: Pixels of the input from one window to the next.
        raster_step: Pixels of the raster that these are.
    """

    raster_hw: tuple[int, int]
    side: int
    step: int
    raster_step: int

    @classmethod
    def of(cls, raster_hw: tuple[int, int], plan: InputPlan) -> RasterWindows:
        """The windows by the options for photos: each window is encoded as a photo would be.

        Windows have a side of `plan.window` pixels of the raster, and each is scaled to
        `plan.short_side`. By default both are equal, so that the raster is encoded at its own size.

        Example:
            >>> RasterWindows.of((9000, 9000), InputPlan.of(320, None, None, 8)).scale
            1.0
            >>> RasterWindows.of((9000, 9000), InputPlan.of(320, 640, None, 8)).scale
            0.5
        """
        side = plan.short_side or plan.window or DEFAULT_SIDE
        window = plan.window or side
        raster_step = plan.step or max(1, window // 2)
        return cls(raster_hw, side, max(1, round(raster_step * side / window)), raster_step)

    @property
    def scale(self) -> float:
        """Pixels of the input for each pixel of the raster."""
        return self.step / self.raster_step

    def region(self, box: Box, margin: int = 0) -> Region:
        """What has to be read to label a part of the raster.

        Args:
            box: The part.
            margin: Pixels around it that are labelled, too, where there are any.
        """
        rows = self._span(0, box.top - margin, box.bottom + margin)
        columns = self._span(1, box.left - margin, box.right + margin)
        return Region(
            Box(rows.start, columns.start, rows.end - rows.start, columns.end - columns.start),
            (rows.length, columns.length),
            Windows(rows.starts, columns.starts, tapered=True),
        )

    def _span(self, axis: int, start: int, end: int) -> _Span:
        pixels = self.raster_hw[axis]
        total = max(1, round(pixels * self.scale))
        starts = window_starts(total, self.side, self.step)
        if len(starts) == 1:
            return _Span(0, pixels, total, WHOLE)
        first, last = max(0, start) * self.scale, min(pixels, end) * self.scale
        seen = [n for n, one in enumerate(starts) if one < last and one + self.side > first]
        # The last window may begin at any pixel; the region begins with one that does not.
        low, high = min(seen[0], len(starts) - 2), seen[-1]
        begin = starts[low]
        stop = starts[high] + self.side
        raster_stop = pixels if high == len(starts) - 1 else min(pixels, round(stop / self.scale))
        return _Span(
            begin // self.step * self.raster_step,
            raster_stop,
            stop - begin,
            tuple(one - begin for one in starts[low : high + 1]),
        )
