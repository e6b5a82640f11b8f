"""Results as objects of supervision and FiftyOne; they are checked where these are installed."""

import sys

import numpy as np
import pytest

from recoseg.errors import MissingExtraError
from recoseg.labels import InstanceMap, Segmentation
from recoseg.photos.refs import Photo
from recoseg.segmentation.result import Result
from tests.formats.photos import NAMES, label_map


def result_of(labels, names=NAMES, scores=None):
    found = Segmentation(labels, names, tuple((0, 0, 0) for _ in names), scores)
    return Result(Photo("a.jpg"), segmentation=found)


@pytest.mark.parametrize("number", [0, 1, 5])
def test_detections_have_the_masks_boxes_and_names(number):
    supervision = pytest.importorskip("supervision")
    labels = label_map(number)
    found = result_of(labels).to_supervision()
    assert isinstance(found, supervision.Detections)
    assert len(found) == len(set(labels.ravel().tolist()) - {255})
    names = found.data["class_name"].tolist()
    for mask, box, label, name in zip(found.mask, found.xyxy, found.class_id, names, strict=True):
        assert np.array_equal(mask, labels == label)
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max(), rows.max()]
        assert name == NAMES[label]
    assert found.confidence is None
    assert len(found[found.class_id >= 0]) == len(found)


def test_detections_have_mean_scores():
    pytest.importorskip("supervision")
    scores = np.arange(8, dtype=np.float16).reshape(2, 2, 2)
    found = result_of(np.array([[0, 0], [1, 255]], np.uint8), ("a", "b"), scores).to_supervision()
    assert found.confidence.tolist() == [0.5, 6]


def test_instances_are_detections_of_their_own():
    pytest.importorskip("supervision")
    labels = np.array([[0, 0, 1, 1], [0, 0, 255, 1]], np.uint8)
    numbers = np.array([[1, 2, 0, 0], [1, 2, 0, 0]], np.uint16)
    scores = np.ones((2, 2, 4), np.float16)
    own = InstanceMap(numbers, (0.75, 0.5))
    found = Segmentation(labels, ("a", "b"), ((0, 0, 0),) * 2, scores, instances=own)
    made = found.to_supervision()
    assert made.data["class_name"].tolist() == ["a", "a", "b"]
    assert made.confidence.tolist() == [0.75, 0.5, 1]
    expected = [numbers == 1, numbers == 2, labels == 1]
    assert np.array_equal(made.mask, np.stack(expected))


@pytest.mark.parametrize("classes", [171, 255, 300])
def test_the_mask_of_fiftyone_has_0_for_background(classes):
    fiftyone = pytest.importorskip("fiftyone")
    names = tuple(f"class {number}" for number in range(classes))
    labels = label_map(5, classes)
    labels[0, 0] = classes - 1
    found = result_of(labels, names).to_fiftyone()
    assert isinstance(found, fiftyone.Segmentation)
    background = 255 if classes <= 255 else 65535
    own = np.where(labels == background, 0, labels.astype(int) + 1)
    assert np.array_equal(found.mask, own)


@pytest.mark.parametrize("package", ["supervision", "fiftyone"])
def test_a_missing_package_is_told_with_its_extra(monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"recoseg\[{package}\]"):
        getattr(result_of(label_map(5)), f"to_{package}")()
