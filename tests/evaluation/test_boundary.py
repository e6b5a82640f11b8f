import json
import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from recoseg.errors import LabelError
from recoseg.evaluation.boundary import boundary_counts, boundary_scores

VOID = 255


def around(labels, y, x):
    for other_y, other_x in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
        if 0 <= other_y < labels.shape[0] and 0 <= other_x < labels.shape[1]:
            yield labels[other_y, other_x]


def boundary(labels, label):
    """Boundary pixels of a class, pixel by pixel."""
    return [
        (y, x)
        for y, x in np.ndindex(labels.shape)
        if labels[y, x] == label and any(other != label for other in around(labels, y, x))
    ]


def slow_counts(preds, target, classes, radius):
    rows = []
    for label in range(classes):
        row = []
        for own, other in ((preds, target), (target, preds)):
            counted = [
                (y, x)
                for y, x in boundary(own, label)
                if target[y, x] != VOID and VOID not in around(target, y, x)
            ]
            there = boundary(other, label)
            near = [p for p in counted if any(math.dist(p, q) <= radius for q in there)]
            row += [len(counted), len(near)]
        rows.append(row)
    return rows


def maps(shape=(7, 5), labels=(0, 1, 2, VOID)):
    return arrays(np.uint8, shape, elements=st.sampled_from(labels))


@settings(max_examples=60)
@given(preds=maps(), target=maps(), radius=st.sampled_from([1, math.sqrt(2), 2.3, 3, 50]))
def test_equals_a_pixel_by_pixel_search(preds, target, radius):
    found = boundary_counts(torch.from_numpy(preds), torch.from_numpy(target), 3, radius)
    assert found.tolist() == slow_counts(preds, target, 3, radius)


@settings(max_examples=30)
@given(target=maps(labels=(0, 1, 2)), preds=maps(labels=(0, 1, 2)))
def test_without_void_the_maps_change_places_with_their_columns(preds, target):
    preds, target = torch.from_numpy(preds), torch.from_numpy(target)
    found = boundary_counts(preds, target, 3, 2)
    assert torch.equal(boundary_counts(target, preds, 3, 2), found[:, [2, 3, 0, 1]])


def disc(radius, centre=(40, 40), size=80):
    y, x = np.indices((size, size))
    inside = (y - centre[0]) ** 2 + (x - centre[1]) ** 2 <= radius**2
    return torch.from_numpy(inside.astype(np.uint8))


def test_a_tolerance_below_one_is_a_share_of_the_diagonal():
    preds, target = disc(20), disc(20, (40, 43))
    for fraction in (0.0, 0.0075, 0.02, 0.03):
        pixels = fraction * math.hypot(80, 80)
        expected = slow_counts(preds.numpy(), target.numpy(), 2, pixels)
        assert boundary_counts(preds, target, 2, fraction).tolist() == expected
    assert torch.equal(boundary_counts(preds, target, 2), boundary_counts(preds, target, 2, 0.0075))


def test_a_shifted_outline_is_met_once_the_tolerance_is_the_shift():
    preds, target = disc(20), disc(20, (40, 43))
    loose = boundary_scores(boundary_counts(preds, target, 2, 3).numpy())
    assert loose.f.tolist() == [1, 1]
    assert loose.mean_f == 1
    strict = boundary_scores(boundary_counts(preds, target, 2, 0).numpy())
    assert 0 < strict.mean_f < 0.5


def test_an_outline_towards_void_is_not_counted_but_can_be_near():
    # Truth: class 0, void, class 1. The prediction's boundary lies beside the void strip.
    target = torch.tensor([[0, 0, 0, 0, VOID, VOID, 1, 1, 1]] * 3)
    preds = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1, 1]] * 3)
    # Predicted: column 2 (class 0) counts, column 3 (class 1) lies beside the void. True ones all
    # lie beside it, and column 3 of the truth is near column 2 of the prediction.
    assert boundary_counts(preds, target, 2, 1).tolist() == [[3, 3, 0, 0], [0, 0, 0, 0]]


def test_several_images_add_up():
    first = boundary_counts(disc(20), disc(18), 2, 1)
    second = boundary_counts(disc(9), disc(11), 2, 2)
    scores = boundary_scores((first + second).numpy())
    near = int(first[1, 1] + second[1, 1])
    assert scores.precision[1] == near / int(first[1, 0] + second[1, 0])


def test_scores_by_hand():
    counts = np.array([[4, 2, 8, 8], [0, 0, 5, 0], [3, 0, 3, 0], [0, 0, 0, 0]])
    scores = boundary_scores(counts)
    assert scores.precision[0] == 0.5
    assert scores.recall[0] == 1
    assert scores.f[:3].tolist() == pytest.approx([2 / 3, 0, 0])
    assert scores.mean_f == pytest.approx(2 / 9)
    assert np.isnan([scores.precision[1], scores.f[3]]).all()
    fields = scores.to_json(["a", "b", "c", "d"])
    assert json.loads(json.dumps(fields, allow_nan=False)) == fields
    assert fields["classes"][1] == {"name": "b", "f": 0.0, "precision": None, "recall": 0.0}
    assert fields["classes"][3]["f"] is None


def test_maps_without_boundaries():
    flat = torch.zeros(4, 6, dtype=torch.uint8)
    counts = boundary_counts(flat, flat, 2)
    assert counts.tolist() == [[0] * 4] * 2
    assert boundary_scores(counts.numpy()).to_json("ab")["mean_f"] is None


@pytest.mark.wrong_shapes
def test_maps_that_cannot_be_compared():
    flat = torch.zeros(4, 6, dtype=torch.int64)
    with pytest.raises(LabelError, match="of one shape"):
        boundary_counts(flat, flat[1:], 2)
    with pytest.raises(LabelError, match=r"\(h, w\); got \(24,\)"):
        boundary_counts(flat.view(-1), flat.view(-1), 2)
    with pytest.raises(LabelError, match="tolerance of 0 or more; got -1"):
        boundary_counts(flat, flat, 2, -1)
    with pytest.raises(LabelError, match="predicted labels from 0 to 1"):
        boundary_counts(flat + 5, flat, 2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_the_device():
    preds, target = disc(20), disc(20, (41, 42))
    found = boundary_counts(preds.cuda(), target.cuda(), 2)
    assert found.is_cuda
    assert torch.equal(found.cpu(), boundary_counts(preds, target, 2))
