import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.errors import RecosegError
from recoseg.training.confidence import (
    Ignoring,
    confidence_map,
    ignore_below,
    level_histogram,
    quantile_levels,
    threshold_level,
)


def slow_confidence(scores, labels, temperature):
    found = np.zeros(labels.shape, int)
    for y, x in np.ndindex(labels.shape):
        if labels[y, x] < len(scores):
            powers = np.exp(scores[:, y, x].astype(np.float64) / temperature)
            found[y, x] = round(255 * powers[labels[y, x]] / powers.sum())
    return found


def slow_least(levels, fraction):
    """The highest level with at most this fraction of the pixels below it, by trying all."""
    allowed = [q for q in range(256) if (levels < q).sum() <= fraction * len(levels)]
    return min(max(allowed), levels.max())


@pytest.mark.parametrize("temperature", [0.02, 0.5])
def test_confidence_is_the_softmax_at_the_label(temperature):
    random = np.random.default_rng(0)
    scores = random.normal(0, 0.1, (5, 7, 11)).astype(np.float16)
    labels = scores.argmax(0).astype(np.uint8)
    labels[2, 3:6] = 255
    labels[4, :4] = 1  # as if refinement had overruled the scores
    found = confidence_map(scores, labels, temperature)
    assert found.dtype == np.uint8
    assert np.abs(found - slow_confidence(scores, labels, temperature)).max() <= 1
    assert (found[2, 3:6] == 0).all()


def test_large_maps_are_done_in_strips(monkeypatch):
    scores = np.random.default_rng(1).normal(0, 1, (3, 10, 4)).astype(np.float16)
    labels = scores.argmax(0).astype(np.uint8)
    whole = confidence_map(scores, labels, 1.0)
    monkeypatch.setattr("recoseg.training.confidence._MOST", 36)
    np.testing.assert_array_equal(confidence_map(scores, labels, 1.0), whole)


@given(st.integers(0, 2**31), st.floats(0, 0.99), st.integers(1, 256))
@settings(max_examples=60)
def test_quantiles_and_ignoring_against_a_slow_version(seed, fraction, spread):
    random = np.random.default_rng(seed)
    labels = random.choice([0, 1, 2, 255], (6, 7)).astype(np.uint8)
    levels = random.integers(0, spread, (6, 7)).astype(np.uint8)
    histogram = level_histogram(labels, levels, 4)
    assert histogram.sum() == (labels != 255).sum()
    least = quantile_levels(histogram, fraction)
    kept = ignore_below(labels, levels, least)
    for label in range(4):
        own = levels[labels == label]
        if not own.size:
            assert least[label] == 0
            continue
        assert least[label] == slow_least(own, fraction)
        expected = (labels == label) & (levels >= slow_least(own, fraction))
        np.testing.assert_array_equal(kept == label, expected)
        assert (own < least[label]).sum() <= fraction * own.size
    assert (kept[labels == 255] == 255).all()


def test_thresholds_are_inclusive_at_whole_levels():
    for level in range(256):
        assert threshold_level(level / 255) == level
    assert threshold_level(0.3) == 77  # 0.3 * 255 = 76.5
    labels = np.zeros((1, 2), np.uint8)
    levels = np.array([[76, 77]], np.uint8)
    least = Ignoring(threshold=0.3).levels(level_histogram(labels, levels, 1))
    assert ignore_below(labels, levels, least).tolist() == [[255, 0]]


def test_both_limits_apply():
    histogram = np.zeros((2, 256), np.int64)
    histogram[0, 10], histogram[0, 200] = 5, 5
    histogram[1, 10] = 10
    assert Ignoring(0.1, 0.5).levels(histogram).tolist() == [200, 26]
    assert Ignoring(quantile=0.5).levels(histogram).tolist() == [200, 10]
    assert Ignoring().levels(histogram).tolist() == [0, 0]
    assert Ignoring().idle
    assert not Ignoring(0.0).idle


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.2}, "The confidence is 1.2; expected 0 to 1."),
        ({"threshold": -0.1}, "expected 0 to 1"),
        ({"quantile": 1.0}, "The quantile is 1.0; expected 0 to less than 1."),
    ],
)
def test_limits_out_of_range(options, message):
    with pytest.raises(RecosegError, match=message):
        Ignoring(**options)
