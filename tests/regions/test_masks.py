import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recoseg.regions.masks import drop_small, paint, relabel, resize_labels


def random_masks(count, seed=0, hw=(6, 9)):
    torch.manual_seed(seed)
    shares = torch.rand(count, 1, 1)
    return torch.rand(count, *hw) < shares


def literal_paint(masks):
    """The smallest mask of each pixel, of equal ones the last; numbers in the order of masks."""
    count, height, width = masks.shape
    areas = [int(mask.sum()) for mask in masks]
    chosen = [
        [
            min(
                (number for number in range(count) if masks[number, y, x]),
                key=lambda number: (areas[number], -number),
                default=-1,
            )
            for x in range(width)
        ]
        for y in range(height)
    ]
    used = sorted({one for row in chosen for one in row} - {-1})
    return [[used.index(one) + 1 if one >= 0 else 0 for one in row] for row in chosen]


@given(st.integers(0, 7), st.integers(0, 1000))
def test_painted_masks_equal_the_definition(count, seed):
    masks = random_masks(count, seed)
    masks[::3] = masks[:1].clone()  # equal masks, of which the last lies on top
    painted = paint(masks)
    assert painted.dtype == torch.int32
    assert painted.tolist() == literal_paint(masks)


@given(st.lists(st.integers(0, 70000) | st.integers(0, 7), min_size=6, max_size=6))
def test_labels_are_numbered_without_gaps(values):
    labels = relabel(torch.tensor(values).view(2, 3))
    order = sorted(set(values) - {0})
    assert labels.flatten().tolist() == [order.index(one) + 1 if one else 0 for one in values]


def test_small_regions_become_none():
    labels = torch.tensor([[1, 1, 2, 3], [1, 3, 3, 0]], dtype=torch.int32)
    assert drop_small(labels, 2).tolist() == [[1, 1, 0, 2], [1, 2, 2, 0]]
    assert drop_small(labels, 9).eq(0).all()


@pytest.mark.parametrize("size", [(4, 6), (2, 3), (7, 5), (1, 1)])
def test_resized_labels_are_the_nearest(size):
    labels = torch.arange(6, dtype=torch.int32).view(2, 3)
    got = resize_labels(labels, size)
    for y in range(size[0]):
        for x in range(size[1]):
            near = (int((y + 0.5) * 2 / size[0]), int((x + 0.5) * 3 / size[1]))
            assert got[y, x] == labels[near]
