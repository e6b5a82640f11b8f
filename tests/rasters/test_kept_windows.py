"""Windows that several tiles of a raster share are encoded once."""

import numpy as np
import pytest
import torch

from recoseg.rasters import boxes
from recoseg.rasters.bands import BandReader
from recoseg.rasters.boxes import Box, tiles_over
from recoseg.rasters.opening import open_raster
from recoseg.segmentation import rasters, score_grids
from recoseg.segmentation.kept_windows import KeptWindows
from recoseg.segmentation.presence import DecidedPresence
from recoseg.segmentation.rasters import RasterSegmenter

from .scenes import colours, rasterio, segmenter, write

SIDE = 32
ROWS, COLUMNS = 11, 14  # windows over 180 x 230 pixels, one every 16 pixels


@pytest.fixture
def path(tmp_path, monkeypatch):
    rasterio()
    monkeypatch.setattr(boxes, "ALIGNED", 64)
    monkeypatch.setattr(rasters, "ALIGNED", 64)
    monkeypatch.setattr(rasters, "_LARGEST_TILE", 64)
    return write(tmp_path / "a.tif", colours(180, 230).transpose(2, 0, 1))


def labelled(path, monkeypatch):
    """The labels of all tiles, and the number of windows that were encoded."""
    encoded = []
    score = score_grids._score

    def counted(pixels, branches):
        encoded.append(len(pixels) if branches else 0)
        return score(pixels, branches)

    with monkeypatch.context() as patch, open_raster(path) as raster:
        patch.setattr(score_grids, "_score", counted)
        found = RasterSegmenter(segmenter(SIDE), None, BandReader.of(raster))
        labels = np.zeros((180, 230), np.uint8)
        for box in found.tiles:
            own = found.label(box, DecidedPresence()).labels
            labels[box.top : box.bottom, box.left : box.right] = own
    return labels, sum(encoded)


def test_each_window_is_encoded_once_and_labels_stay(path, monkeypatch):
    labels, once = labelled(path, monkeypatch)
    monkeypatch.setattr(rasters, "_KEPT", 0)
    without, several = labelled(path, monkeypatch)
    assert np.array_equal(labels, without)
    assert len(np.unique(labels)) >= 3
    monkeypatch.setattr(rasters, "_KEPT", 4000)
    assert np.array_equal(labelled(path, monkeypatch)[0], labels)
    assert (once, several > 1.4 * once) == (ROWS * COLUMNS, True), several


def test_what_no_later_tile_needs_is_forgotten():
    side, margin, tile, raster = 4, 1, (5, 6), (17, 20)
    windows = [(top, left) for top in range(0, 14, 2) for left in range(0, 17, 2)]
    kept = KeptWindows(side, 10**9)
    tiles = tiles_over(raster, tile)

    def needed(box):
        part = box.grown(margin, raster)
        return {
            (top, left)
            for top, left in windows
            if top < part.bottom and top + side > part.top
            if left < part.right and left + side > part.left
        }

    seen = set()
    for number, box in enumerate(tiles):
        part = kept.part((0, 0))
        for place in needed(box):
            if part.get(place) is None:
                assert place not in seen  # it was not forgotten too early
                part.keep(place, {"a": torch.zeros(1, 1, 1)})
                seen.add(place)
        kept.forget(box, margin)
        later = set().union(*(needed(other) for other in tiles[number + 1 :]))
        assert {place for place in windows if part.get(place) is not None} >= seen & later
    assert len(kept) < len(windows) / 3


def test_the_next_tile_comes_before_the_next_row():
    kept = KeptWindows(4, 3 * 8)
    part = kept.part((10, 20))
    for place in ((0, 0), (0, 2), (4, 0), (4, 4)):
        part.keep(place, {"a": torch.zeros(1, 1, 2), "b": torch.zeros(0)})
    kept.forget(Box(8, 18, 6, 8), 0)
    # Those that end behind the tile on the right stay; of the others the last is forgotten.
    assert [part.get(place) is not None for place in ((0, 0), (0, 2), (4, 0), (4, 4))] == [
        False,
        False,
        True,
        True,
    ]
