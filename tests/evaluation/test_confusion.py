import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from sklearn import metrics as sk

from recoseg.errors import LabelError
from recoseg.evaluation.confusion import confusion_matrix

VOID = 255


def random_maps(seed, classes=5, shape=(3, 7, 11), void=0.2, dtype=torch.int64):
    draw = torch.Generator().manual_seed(seed)
    maps = []
    for _ in range(2):
        labels = torch.randint(classes, shape, generator=draw)
        labels[torch.rand(shape, generator=draw) < void] = VOID
        maps.append(labels.to(dtype))
    return maps


def test_by_hand():
    target = torch.tensor([[0, 0, 0, 1], [1, 2, VOID, VOID]])
    preds = torch.tensor([[0, 0, 2, VOID], [1, 0, 1, VOID]])
    assert confusion_matrix(preds, target, 4).tolist() == [
        [2, 0, 1, 0, 0],
        [0, 1, 0, 0, 1],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
    ]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
def test_equals_scikit_learn(dtype):
    preds, target = random_maps(1, dtype=dtype)
    labelled = target != VOID
    expected = sk.confusion_matrix(target[labelled], preds[labelled], labels=[0, 1, 2, 3, 4, VOID])
    assert confusion_matrix(preds, target, 5).tolist() == expected[:5].tolist()


def test_a_batch_counts_as_its_images_together():
    preds, target = random_maps(2)
    parts = [confusion_matrix(p, t, 5) for p, t in zip(preds, target, strict=True)]
    assert torch.equal(confusion_matrix(preds, target, 5), torch.stack(parts).sum(0))


@settings(max_examples=30)
@given(seed=st.integers(0, 10_000), order=st.permutations(range(5)))
def test_new_numbers_for_the_classes_move_rows_and_columns_only(seed, order):
    preds, target = random_maps(seed)
    table = torch.full((256,), VOID)
    table[:5] = torch.tensor(order)
    counts = confusion_matrix(preds, target, 5)
    moved = confusion_matrix(table[preds], table[target], 5)
    assert torch.equal(moved[order][:, [*order, 5]], counts)


def test_memory_layout_and_further_classes_do_not_matter():
    preds, target = random_maps(3)
    counts = confusion_matrix(preds, target, 5)
    assert torch.equal(confusion_matrix(preds.transpose(0, 2), target.transpose(0, 2), 5), counts)
    wide = confusion_matrix(preds, target, 171)
    assert torch.equal(wide[:5, [*range(5), 171]], counts)
    assert wide.sum() == counts.sum()


def test_the_maps_stay_as_they_are():
    preds, target = random_maps(4)
    copies = preds.clone(), target.clone()
    confusion_matrix(preds, target, 5)
    assert torch.equal(preds, copies[0])
    assert torch.equal(target, copies[1])


def test_another_ignore_index():
    preds, target = random_maps(5)
    expected = confusion_matrix(preds, target, 5)
    preds[preds == VOID], target[target == VOID] = -1, -1
    assert torch.equal(confusion_matrix(preds, target, 5, ignore_index=-1), expected)


def test_without_pixels():
    empty = torch.zeros(0, dtype=torch.uint8)
    assert confusion_matrix(empty, empty, 3).tolist() == [[0] * 4] * 3


def test_a_predicted_label_of_another_label_space():
    target = torch.tensor([0, 1, 1, VOID], dtype=torch.uint8)
    preds = torch.tensor([0, 30, 171, 99], dtype=torch.uint8)
    with pytest.raises(LabelError) as caught:
        confusion_matrix(preds, target, 27)
    assert str(caught.value) == (
        "Expected predicted labels from 0 to 26, or 255, which means no prediction; got "
        "30, 171 at 2 pixels. Are these labels of another label space, or not yet merged into the "
        "scored classes?"
    )


def test_what_is_predicted_at_void_pixels_is_free():
    preds, target = torch.tensor([99, -5, 1]), torch.tensor([VOID, VOID, 1])
    assert confusion_matrix(preds, target, 2).tolist() == [[0, 0, 0], [0, 1, 0]]


def test_labels_that_begin_at_one():
    labels = torch.tensor([1, 2, 3])
    with pytest.raises(LabelError, match=r"true labels from 0 to 2.*got 3 at 1 .*subtract 1"):
        confusion_matrix(labels, labels, 3)


def test_a_true_label_out_of_range_is_named_even_where_nothing_is_predicted():
    target = torch.tensor([-1, -1, 0])
    with pytest.raises(LabelError, match=r"true labels .* got -1 at 2 pixels"):
        confusion_matrix(torch.full((3,), VOID), target, 2)


def test_many_wrong_values_are_not_all_named():
    preds = torch.arange(100, 120)
    with pytest.raises(LabelError, match="106, 107 and 12 more at 20 pixels"):
        confusion_matrix(preds, torch.zeros(20, dtype=torch.int64), 5)


@pytest.mark.parametrize("big", [2**32, 2**32 + 1, -(2**40)])
def test_wide_labels_do_not_wrap_round(big):
    with pytest.raises(LabelError, match=str(big)):
        confusion_matrix(torch.tensor([big]), torch.tensor([0]), 3)


@pytest.mark.wrong_shapes
def test_maps_that_cannot_be_compared():
    labels = torch.zeros(2, 3, dtype=torch.int64)
    with pytest.raises(LabelError, match=r"one shape; got \(3, 2\) and \(2, 3\)"):
        confusion_matrix(labels.T, labels, 2)
    with pytest.raises(LabelError, match=r"predicted labels as integers; got torch.float32"):
        confusion_matrix(labels.float(), labels, 2)
    with pytest.raises(LabelError, match="got 2 classes and ignore_index 1"):
        confusion_matrix(labels, labels, 2, ignore_index=1)
    with pytest.raises(LabelError, match="got 0 classes"):
        confusion_matrix(labels, labels, 0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_the_device():
    preds, target = random_maps(6, dtype=torch.uint8)
    counts = confusion_matrix(preds.cuda(), target.cuda(), 5)
    assert counts.is_cuda
    assert np.array_equal(counts.cpu(), confusion_matrix(preds, target, 5))
