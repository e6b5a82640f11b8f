"""Tiles and regions of windows, against the windows over the whole raster."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.rasters.boxes import ALIGNED, Box, tile_size, tiles_over
from recoseg.segmentation.input_plan import InputPlan
from recoseg.segmentation.raster_windows import RasterWindows
from recoseg.segmentation.windows import window_starts


@given(*[st.integers(1, 60)] * 4)
def test_tiles_hold_each_pixel_once(height, width, rows, columns):
    seen = np.zeros((height, width), int)
    for tile in tiles_over((height, width), (rows, columns)):
        seen[tile.top : tile.bottom, tile.left : tile.right] += 1
    assert (seen == 1).all()


def test_sizes_of_tiles():
    assert tile_size((20_000, 30_000), (512, 512), 10_000_000) == (3072, 3072)
    assert tile_size((700, 30_000), (512, 512), 10_000_000) == (1024, 3072)
    assert tile_size((20_000, 9_000), (1, 9_000), 10_000_000) == (1024, 9216)
    assert tile_size((20_000, 60_000), (1, 60_000), 1_000_000) == (ALIGNED, 60_416)


def axis_of(length, side, step, start, end):
    """The windows that overlap some pixels, found one by one."""
    return [one for one in window_starts(length, side, step) if one < end and one + side > start]


@settings(max_examples=200)
@given(
    length=st.integers(1, 900),
    side=st.integers(8, 90),
    step=st.integers(1, 90),
    first=st.integers(0, 899),
    size=st.integers(1, 300),
    margin=st.integers(0, 40),
)
def test_a_region_has_all_windows_that_overlap_it(length, side, step, first, size, margin):
    step, first = min(step, side), min(first, length - 1)
    size = min(size, length - first)
    windows = RasterWindows((length, 7), side, step, step)
    region = windows.region(Box(first, 0, size, 7), margin)
    rows = [region.box.top + one for one in region.windows.rows]
    around = max(0, first - margin), min(length, first + size + margin)
    wanted = axis_of(length, side, step, *around)
    assert set(wanted) <= set(rows)
    assert set(rows) <= set(window_starts(length, side, step))
    assert len(rows) <= len(wanted) + 1
    assert region.windows.rows[0] == 0
    assert rows[-1] + min(side, length) == region.box.bottom  # the last one ends with the region
    assert region.input_hw[0] == region.box.height
    assert (region.box.left, region.box.width, region.windows.columns) == (0, 7, (0,))


def test_windows_of_another_scale():
    windows = RasterWindows.of((5000, 4100), InputPlan.of(320, 640, None, 8))
    assert (windows.side, windows.step, windows.raster_step, windows.scale) == (320, 160, 320, 0.5)
    region = windows.region(Box(1024, 0, 1024, 4100))
    assert (region.box.top, region.box.bottom) == (640, 2560)  # 640, 960, ..., 1920
    assert region.windows.rows == (0, 160, 320, 480, 640)
    assert region.input_hw[0] == 960
    assert (region.box.left, region.box.width, region.input_hw[1]) == (0, 4100, 2050)
    assert region.windows.columns[-1] + 320 == 2050


def test_windows_by_the_options():
    def found(*plan):
        windows = RasterWindows.of((9000, 9000), InputPlan.of(*plan, 8))
        return windows.side, windows.step, windows.raster_step

    assert found(320, None, None) == (320, 160, 160)
    assert found(0, None, None) == (320, 160, 160)
    assert found(0, 512, 128) == (512, 128, 128)
    assert found(320, 1000, None) == (320, 160, 500)
