"""Regions as detections: together they are the label map; confidence is the mean over pixels."""

import numpy as np
import pytest

from recoseg.labels import Probabilities, Segmentation
from recoseg.neighbours.detections import confidence, detections, labelled


def test_the_regions_are_the_label_map(result):
    found = detections(result.segmentation, labelled(result.segmentation))
    assert len(found) >= 4
    painted = np.full_like(result.labels, result.ignore_index)
    for one in found:
        mask = one.region.whole(*result.labels.shape)
        assert (painted[mask] == result.ignore_index).all()
        painted[mask] = result.names.index(one.name)
    assert np.array_equal(painted, result.labels)
    least = sorted(one.confidence for one in found)[1]
    some = detections(result.segmentation, labelled(result.segmentation), least)
    assert {one.confidence for one in some} == {
        c.confidence for c in found if c.confidence >= least
    }
    large = labelled(result.segmentation, min_area=100)
    kept = [one.region.area for one in detections(result.segmentation, large)]
    assert kept == [one.region.area for one in found if one.region.area >= 100]
    assert len(kept) < len(found)


def test_confidence_is_the_mean_over_the_pixels():
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 2, (7, 11)).astype(np.uint8)
    values = generator.random((2, 4, 6)).astype(np.float16)
    found = Segmentation(labels, ("a", "b"), ((0, 0, 0),) * 2, None, Probabilities(values, 2))
    for region in labelled(found).regions:
        pixels = np.argwhere(region.whole(7, 11))
        slow = sum(float(values[region.label, y // 2, x // 2]) for y, x in pixels) / len(pixels)
        assert confidence(found, region) == pytest.approx(slow)
    plain = Segmentation(labels, ("a", "b"), ())
    assert confidence(plain, labelled(plain).regions[0]) == 1.0
