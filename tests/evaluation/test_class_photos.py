"""Best and worst photos of a class, and its confusions, against loops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recoseg.evaluation.class_photos import best_and_worst, confused_with
from recoseg.evaluation.metrics import class_counts, class_iou, scores_of


@given(st.integers(0, 999), st.integers(1, 6))
def test_best_and_worst_are_those_of_a_loop(seed, most):
    random = np.random.default_rng(seed)
    true = random.integers(0, 3, (9, 2)) * 4
    right = np.minimum(random.integers(0, 3, (9, 2)) * 2, true)
    counts = np.stack([right, true, right + random.integers(0, 2, (9, 2)) * 3], -1)
    best, worst = best_and_worst(counts, 1, most)
    rows = []
    for place in range(9):
        r, t, p = (int(value) for value in counts[place, 1])
        if t + p - r:
            rows.append((r / (t + p - r), r, t + p - 2 * r, place))
    found = sorted([row for row in rows if row[1]], key=lambda x: (-x[0], -x[1], x[3]))[:most]
    assert best == [row[3] for row in found]
    rest = [row for row in rows if row[3] not in best]
    assert worst == [x[3] for x in sorted(rest, key=lambda x: (x[0], -x[2], x[3]))[:most]]


def test_confusions_go_both_ways():
    counts = np.array([[5, 3, 0, 2], [4, 9, 0, 0], [0, 1, 7, 0]])
    names = ["a", "b", "c"]
    taken_for, taken = confused_with(counts, names, 1)
    assert [(item.name, item.pixels, item.share) for item in taken_for] == [("a", 4, 4 / 13)]
    assert [(item.name, item.pixels, item.share) for item in taken] == [
        ("a", 3, 3 / 13),
        ("c", 1, 1 / 13),
    ]
    taken_for, _ = confused_with(counts, names, 0)
    assert [item.name for item in taken_for] == ["b", "(no prediction)"]
    assert confused_with(counts, names, 0, most=1)[0] == taken_for[:1]


def test_iou_is_that_of_the_confusion_matrix():
    counts = np.random.default_rng(0).integers(0, 9, (4, 5))
    counts[2] = counts[:, 2] = 0
    found = class_iou(class_counts(counts))
    np.testing.assert_allclose(found, scores_of(counts).iou)
    assert np.isnan(found[2])
    assert class_iou(np.stack([class_counts(counts)] * 3)).shape == (3, 4)
    assert found[0] == pytest.approx(
        counts[0, 0] / (counts[0].sum() + counts[:, 0].sum() - counts[0, 0])
    )
