"""Every format gives the same masks to readers that are written from its definition."""

import numpy as np
import pytest

from tests.formats.slow_readers import READERS

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("polygons", [False, True])
@pytest.mark.parametrize("name", READERS)
def test_masks_are_the_same(photos, written, name, polygons):
    _, maps = photos
    found = READERS[name](written[polygons] / name, 171)
    assert found.keys() == maps.keys()
    wrong = [photo for photo, labels in maps.items() if not np.array_equal(found[photo], labels)]
    assert not wrong
