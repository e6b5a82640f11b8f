"""The certainty of pixels against a loop over them."""

import numpy as np
import pytest

from recoseg.errors import OptionError, RecosegError
from recoseg.labels import Probabilities, Segmentation
from recoseg.segmentation import certainty as module
from recoseg.segmentation.certainty import certainty, keep_certain


def slowly(values, step, height, width):
    best = values.max(0).astype(float)
    rows, columns = best.shape
    found = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            i, j = y // step, x // step
            below, right = min(i + 1, rows - 1), min(j + 1, columns - 1)
            b, a = y / step - i, x / step - j
            above = best[i, j] * (1 - a) + best[i, right] * a
            under = best[below, j] * (1 - a) + best[below, right] * a
            found[y, x] = above * (1 - b) + under * b
    return found * 255


def segmentation(step, height=13, width=17, seed=0):
    generator = np.random.default_rng(seed)
    shape = (3, -(-height // step), -(-width // step))
    values = generator.random(shape).astype(np.float16)
    labels = generator.integers(0, 3, (height, width)).astype(np.uint8)
    return Segmentation(labels, ("a", "b", "c"), (), None, Probabilities(values, step))


@pytest.mark.parametrize("step", [1, 2, 5, 30])
@pytest.mark.parametrize("strip", [1, 40, 1 << 20])
def test_it_equals_the_loop(step, strip, monkeypatch):
    monkeypatch.setattr(module, "_STRIP", strip)
    found = segmentation(step)
    expected = slowly(found.probabilities.values, step, 13, 17)
    assert np.abs(certainty(found) - expected).max() <= 0.5 + 1e-3


def test_the_threshold_is_that_of_the_certainty():
    found = segmentation(2)
    sure = certainty(found)
    kept = keep_certain(found, 0.7)
    np.testing.assert_array_equal(kept.labels[sure >= 0.7 * 255], found.labels[sure >= 0.7 * 255])
    assert (kept.labels[sure < 0.7 * 255] == 255).all()
    assert 0 < (kept.labels == 255).sum() < kept.labels.size
    assert keep_certain(found, 0) is found


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_is_a_probability(threshold):
    with pytest.raises(OptionError, match="expected a probability"):
        keep_certain(segmentation(2), threshold)


def test_other_label_maps_have_no_certainty():
    with pytest.raises(RecosegError, match="has no probabilities"):
        certainty(Segmentation(np.zeros((2, 2), np.uint8), ("a",), ()))
