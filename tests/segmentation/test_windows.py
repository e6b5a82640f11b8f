import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.errors import RecosegError
from recoseg.segmentation.windows import Box, GridMean, window_boxes, window_starts


@settings(max_examples=100)
@given(st.integers(1, 500), st.integers(1, 12), st.integers(1, 12), st.sampled_from([1, 8, 16]))
def test_windows_cover_the_axis(length, window, step, multiple):
    window, step = window * multiple, min(step, window) * multiple
    starts = window_starts(length, window, step, multiple)
    assert starts == sorted(set(starts))
    assert all(start % multiple == 0 for start in starts)
    covered = {pixel for start in starts for pixel in range(start, start + window)}
    assert set(range(length)) <= covered
    # All windows have the same number of cells.
    cells = {-(-(min(start + window, length) - start) // multiple) for start in starts}
    assert len(cells) == 1


def test_boxes_by_hand():
    assert window_boxes((32, 50), 32, 16, 16) == [
        Box(0, 32, 0, 32),
        Box(0, 32, 16, 48),
        Box(0, 32, 32, 50),
    ]


def test_mean_of_overlapping_windows():
    mean = GridMean(1, (1, 3))
    mean.add(torch.tensor([[[1.0, 2.0]]]), 0, 0)
    mean.add(torch.tensor([[[4.0, 6.0]]]), 0, 1)
    assert mean.mean().tolist() == [[[1.0, 3.0, 6.0]]]


def test_a_cell_without_window_is_an_error():
    mean = GridMean(1, (2, 2))
    mean.add(torch.ones(1, 1, 2), 0, 0)
    with pytest.raises(RecosegError, match="not in any window"):
        mean.mean()


def test_impossible_windows_are_refused():
    with pytest.raises(RecosegError, match="1 <= step <= window"):
        window_starts(100, 32, 33)
    with pytest.raises(RecosegError, match="multiples of 16"):
        window_starts(100, 40, 16, 16)
