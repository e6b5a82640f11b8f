"""The 50 photos in every format, made once."""

from __future__ import annotations

import pytest

from recoseg.pipeline.convert import convert
from tests.formats.photos import write_photos
from tests.formats.slow_readers import READERS

COUNT = 50


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """The folder of photos and masks, and the label maps by name."""
    pytest.importorskip("shapely")
    root = tmp_path_factory.mktemp("photos")
    return root, write_photos(root, COUNT)


@pytest.fixture(scope="session")
def written(photos, tmp_path_factory):
    """The folders of all formats, by whether they hold polygons; outlines are exact."""
    folders = {}
    for polygons in (False, True):
        out = tmp_path_factory.mktemp("formats")
        report = convert(
            photos[0] / "masks",
            list(READERS),
            out,
            images=photos[0] / "images",
            photos="copy",
            polygons=polygons,
            tolerance=0,
        )
        assert not report.failures
        folders[polygons] = out
    return folders
