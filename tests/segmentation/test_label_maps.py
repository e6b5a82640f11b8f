import numpy as np
import pytest
import torch

from recoseg.errors import RecosegError
from recoseg.segmentation.label_maps import BackgroundRule, class_indices, label_map, label_strips


def test_argmax_with_the_first_of_equal_ones():
    scores = torch.tensor([[[0.1, 0.5]], [[0.3, 0.5]]])
    assert label_map(scores).tolist() == [[1, 0]]


def test_threshold_and_background_classes():
    scores = torch.tensor([[[0.9, 0.2, 0.1]], [[0.1, 0.3, 0.8]]])
    assert label_map(scores, BackgroundRule(threshold=0.5)).tolist() == [[0, 255, 1]]
    assert label_map(scores, BackgroundRule(classes=(1,))).tolist() == [[0, 255, 255]]
    assert label_map(scores, BackgroundRule(0.5, (0,))).tolist() == [[255, 255, 1]]


@pytest.mark.parametrize("max_elements", [1, 40, 10**6])
def test_strips_equal_the_whole(max_elements):
    scores = torch.rand(3, 17, 11)
    background = BackgroundRule(threshold=0.6, classes=(2,))
    labels, kept = label_strips(
        lambda start, end: scores[:, start:end],
        3,
        (17, 11),
        background,
        keep_scores=True,
        max_elements=max_elements,
    )
    assert labels.dtype == np.uint8
    assert (labels == label_map(scores, background).numpy()).all()
    assert (kept == scores.half().numpy()).all()


def test_more_than_255_classes_are_16_bit():
    for classes, dtype, ignored in ((255, np.uint8, 255), (256, np.uint16, 65535)):
        scores = torch.zeros(classes, 1, 2)
        scores[-1, 0, 0] = 1
        labels, _ = label_strips(
            lambda start, end, scores=scores: scores[:, start:end],
            classes,
            (1, 2),
            BackgroundRule(threshold=0.5),
        )
        assert labels.dtype == dtype
        assert labels.tolist() == [[classes - 1, ignored]]


def test_unknown_background_classes_are_named():
    assert class_indices(("cat", "wall", "floor"), ["floor", "wall"]) == (2, 1)
    with pytest.raises(RecosegError, match=r"Unknown background classes: roof.*cat, wall"):
        class_indices(("cat", "wall"), ["roof"])
