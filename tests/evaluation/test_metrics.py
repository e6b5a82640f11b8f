import json

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from sklearn import metrics as sk

from recoseg.errors import LabelError
from recoseg.evaluation.metrics import Confusion, confusions, scores_of

SPREAD = np.array([[5, 1, 0, 2], [2, 3, 1, 0], [0, 0, 4, 0]])


def labels_of(counts):
    """Pixels that have these counts: true and predicted labels, c for no prediction."""
    rows, columns = np.indices(counts.shape)
    return np.repeat(rows.ravel(), counts.ravel()), np.repeat(columns.ravel(), counts.ravel())


def test_by_hand():
    # Class 0: 6 right of 8 true and 6 predicted pixels; class 1: 1 of 2 and 2, one unpredicted;
    # class 2: never true, predicted once; class 3: nowhere.
    counts = np.array([[6, 1, 1, 0, 0], [0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [0, 0, 0, 0, 0]])
    scores = scores_of(counts)
    assert scores.iou.tolist()[:3] == [6 / 8, 1 / 3, 0.0]
    assert scores.precision.tolist()[:3] == [1.0, 1 / 2, 0.0]
    assert scores.recall.tolist()[:2] == [6 / 8, 1 / 2]
    assert scores.share.tolist() == [8 / 10, 2 / 10, 0, 0]
    assert np.isnan([scores.iou[3], scores.precision[3], *scores.recall[2:]]).all()
    assert scores.accuracy == 0.7
    assert scores.miou == pytest.approx((6 / 8 + 1 / 3 + 0) / 3)
    assert scores.mean_class_accuracy == pytest.approx((6 / 8 + 1 / 2) / 2)
    assert scores.frequency_weighted_iou == pytest.approx(0.8 * 6 / 8 + 0.2 / 3)


@settings(max_examples=40)
@given(counts=arrays(np.int64, (4, 5), elements=st.integers(0, 6)))
def test_equals_scikit_learn(counts):
    true, predicted = labels_of(counts)
    if not len(true):
        return
    scores = scores_of(counts)
    here = sorted({*true.tolist(), *predicted.tolist()} - {4})
    options = {"labels": here, "average": None, "zero_division": 0}
    iou = sk.jaccard_score(true, predicted, **options)
    np.testing.assert_allclose(scores.iou[here], iou)
    assert np.isnan(np.delete(scores.iou, here)).all()
    assert scores.miou == pytest.approx(iou.mean())
    assert scores.accuracy == pytest.approx(sk.accuracy_score(true, predicted))
    truly = np.unique(true)
    recall = sk.recall_score(true, predicted, labels=truly, average=None)
    assert scores.mean_class_accuracy == pytest.approx(recall.mean())
    np.testing.assert_allclose(scores.recall[truly], recall)
    weighted = sk.jaccard_score(true, predicted, average="weighted", zero_division=0)
    assert scores.frequency_weighted_iou == pytest.approx(weighted)
    said = np.setdiff1d(predicted, [4])
    if len(said):
        precision = sk.precision_score(true, predicted, labels=said, average=None)
        np.testing.assert_allclose(scores.precision[said], precision)


@settings(max_examples=40)
@given(counts=arrays(np.int64, (4, 5), elements=st.integers(0, 9)), order=st.permutations(range(4)))
def test_the_order_of_the_classes_does_not_matter(counts, order):
    if not counts.any():
        return
    scores, moved = scores_of(counts), scores_of(counts[order][:, [*order, 4]])
    np.testing.assert_array_equal(moved.iou, scores.iou[order])
    assert moved.miou == pytest.approx(scores.miou)
    assert moved.accuracy == scores.accuracy
    assert moved.frequency_weighted_iou == pytest.approx(scores.frequency_weighted_iou)
    everything = [scores.miou, scores.accuracy, *np.nan_to_num(scores.iou)]
    assert all(0 <= value <= 1 for value in everything)


def test_all_right_and_nothing_predicted():
    right = scores_of(np.array([[3, 0, 0], [0, 4, 0]]))
    assert (right.miou, right.accuracy, right.frequency_weighted_iou) == (1, 1, 1)
    nothing = scores_of(np.array([[0, 0, 3], [0, 0, 4]]))
    assert (nothing.miou, nothing.accuracy, nothing.mean_class_accuracy) == (0, 0, 0)
    assert np.isnan(nothing.precision).all()


def test_no_pixel():
    with pytest.raises(
        LabelError, match=r"No labelled pixel was compared.*Check the folder of the data set"
    ):
        scores_of(np.zeros((3, 4), np.int64))


def test_to_json_has_names_and_null():
    counts = np.array([[3, 1, 0], [0, 0, 0]])
    fields = scores_of(counts).to_json(["tree", "sky"])
    assert json.loads(json.dumps(fields, allow_nan=False)) == fields
    assert fields["accuracy"] == 0.75
    assert fields["classes"] == [
        {"name": "tree", "iou": 0.75, "precision": 1.0, "recall": 0.75, "share": 1.0},
        {"name": "sky", "iou": 0.0, "precision": 0.0, "recall": None, "share": 0.0},
    ]


def test_confusions_by_frequency():
    assert confusions(SPREAD) == [
        Confusion(0, 3, 2, 2 / 8),
        Confusion(1, 0, 2, 2 / 6),
        Confusion(0, 1, 1, 1 / 8),
        Confusion(1, 2, 1, 1 / 6),
    ]
    assert confusions(SPREAD, most=2) == confusions(SPREAD)[:2]
    assert confusions(np.diag([3, 4, 0])[:2]) == []
