"""The paired bootstrap, against a loop over photos and classes."""

import math

import numpy as np
import pytest

from recoseg.comparison.bootstrap import drawn_differences, p_values, paired_bootstrap

PHOTOS, CLASSES = 7, 3


def counts(seed, photos=PHOTOS, classes=CLASSES, missing=None):
    """Right, true and predicted pixels, some of them 0."""
    random = np.random.default_rng(seed)
    truth = random.integers(0, 40, (photos, classes)) * random.integers(0, 2, (photos, classes))
    right = random.integers(0, truth + 1)
    predicted = right + random.integers(0, 9, (photos, classes))
    found = np.stack([right, truth, predicted], -1)
    if missing is not None:
        found[:, missing] = 0
    return found


def slow_measures(found, draw):
    """IoU of each class over drawn photos, and the mean of those that are known."""
    known, measures = [], []
    for label in range(found.shape[1]):
        right = true = predicted = 0
        for photo in draw:
            right += int(found[photo, label, 0])
            true += int(found[photo, label, 1])
            predicted += int(found[photo, label, 2])
        either = true + predicted - right
        measures.append(right / either if either else math.nan)
        known += [measures[-1]] if either else []
    return [*measures, sum(known) / len(known) if known else math.nan]


@pytest.mark.parametrize("missing", [None, 1])
def test_drawn_differences_are_those_of_a_loop(missing):
    one, other = counts(1, missing=missing), counts(2)
    draws = np.random.default_rng(3).integers(0, PHOTOS, (11, PHOTOS))
    expected = [
        [b - a for a, b in zip(slow_measures(one, d), slow_measures(other, d), strict=True)]
        for d in draws
    ]
    found = drawn_differences(one, other, draws)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert np.isnan(found[:, 1]).all() == (missing is not None)


def test_the_interval_and_the_p_value_are_those_of_all_resamples(monkeypatch):
    one, other = counts(4), counts(5)
    monkeypatch.setattr("recoseg.comparison.bootstrap._AT_A_TIME", 50)  # in several parts
    found = paired_bootstrap(one, other, resamples=101, seed=6)
    random = np.random.default_rng(6)
    step = 50 // (3 * CLASSES)
    parts = [
        random.integers(0, PHOTOS, (min(step, 101 - at), PHOTOS)) for at in range(0, 101, step)
    ]
    draws = [draw for part in parts for draw in part]
    slow = np.array(
        [np.subtract(slow_measures(other, draw), slow_measures(one, draw)) for draw in draws]
    )
    np.testing.assert_allclose(
        found.value, np.subtract(*(slow_measures(c, range(PHOTOS)) for c in (other, one)))
    )
    for column in range(CLASSES + 1):
        ordered = sorted(value for value in slow[:, column] if not math.isnan(value))
        for end, at in ((found.low, 0.025), (found.high, 0.975)):
            place = at * (len(ordered) - 1)
            low, part = int(place), place % 1
            above = ordered[min(low + 1, len(ordered) - 1)]
            assert end[column] == pytest.approx(ordered[low] * (1 - part) + above * part)
        smaller = min(sum(v <= 0 for v in ordered), sum(v >= 0 for v in ordered))
        expected = min(1, 2 * (1 + smaller) / (1 + len(ordered)))
        assert found.p_value[column] == pytest.approx(expected)


def test_equal_seeds_give_equal_results():
    one, other = counts(7), counts(8)
    first, again, another = (
        paired_bootstrap(one, other, resamples=50, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.low, again.low)
    assert (first.low != another.low).any()


def test_equal_runs_do_not_differ():
    one = counts(9)
    found = paired_bootstrap(one, one, resamples=40)
    assert not found.value.any()
    assert not found.low.any()
    assert not found.high.any()
    assert (found.p_value == 1).all()


def test_a_run_that_is_better_in_every_photo_differs():
    one = np.tile([[[50, 100, 100]]], (30, 2, 1))
    other = np.tile([[[80, 100, 100]]], (30, 2, 1))
    found = paired_bootstrap(one, other, resamples=200)
    assert found.value == pytest.approx([80 / 120 - 50 / 150] * 3)
    assert found.low == pytest.approx(found.value)
    assert found.p_value == pytest.approx([2 / 201] * 3)


def test_nothing_is_known_of_a_class_that_never_occurs():
    found = paired_bootstrap(counts(1, missing=2), counts(2, missing=2), resamples=20)
    for part in (found.value, found.low, found.high, found.p_value):
        assert np.isnan(part).tolist() == [False, False, True, False]


def test_p_values_never_are_0():
    assert p_values(np.full((99, 1), 0.3)).tolist() == [0.02]
    assert p_values(np.array([[0.0], [0.0]])).tolist() == [1.0]
    assert np.isnan(p_values(np.full((5, 1), np.nan))).all()


@pytest.mark.wrong_shapes
def test_counts_of_other_photos_are_refused():
    with pytest.raises(ValueError, match="Expected counts of the same photos"):
        paired_bootstrap(counts(1), counts(1, photos=PHOTOS + 1))
    with pytest.raises(ValueError, match="Expected counts of the same photos"):
        paired_bootstrap(counts(1, photos=0), counts(1, photos=0))


def test_the_interval_holds_the_true_difference_about_as_often_as_it_says():
    """60 data sets of 60 photos of two runs whose difference is known; the full study is slow."""
    held = 0
    for seed in range(60):
        random = np.random.default_rng(seed)
        true = np.full((60, 1), 1000)
        hard = random.normal(0, 0.1, (60, 1))  # of a photo, for both runs
        runs = []
        for recall in (0.6, 0.65):
            shares = np.clip(recall + hard + random.normal(0, 0.05, (60, 1)), 0, 1)
            runs.append(np.stack([(shares * true).astype(int), true, true], -1))
        found = paired_bootstrap(*runs, resamples=200, seed=seed)
        # The IoU of r right of t true and t predicted pixels is r / (2 t - r).
        held += found.low[-1] <= 0.65 / 1.35 - 0.6 / 1.4 <= found.high[-1]
    assert 52 <= held <= 60
