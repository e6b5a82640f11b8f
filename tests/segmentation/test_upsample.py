import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.errors import RecosegError
from recoseg.regions.axes import axis_matrix, bilinear_matrix
from recoseg.segmentation.upsample import Upsampler


def interpolate(scores, size):
    # In fp64: in fp32 it rounds the positions themselves, to about 1e-5.
    scores = scores[None].double()
    return F.interpolate(scores, size, mode="bilinear", align_corners=False)[0].float()


@settings(max_examples=60)
@given(st.integers(1, 40), st.integers(1, 90))
def test_matrix_is_interpolate(cells, pixels):
    row = torch.randn(cells)
    expected = interpolate(row[None, None], (1, pixels))[0, 0]
    torch.testing.assert_close(bilinear_matrix(cells, pixels) @ row, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("stride", [1, 7, 16])
@pytest.mark.parametrize("input_hw", [(13, 29), (33, 97), (112, 5)])
@pytest.mark.parametrize("output_hw", [None, (53, 71), (11, 7)])
def test_up_sample_crop_resize(stride, input_hw, output_hw):
    output_hw = output_hw or input_hw
    grid_hw = tuple(-(-side // stride) for side in input_hw)
    scores = torch.randn(3, *grid_hw)
    whole = interpolate(scores, (grid_hw[0] * stride, grid_hw[1] * stride))
    cropped = whole[:, : input_hw[0], : input_hw[1]]
    expected = cropped if output_hw == input_hw else interpolate(cropped, output_hw)
    upsampler = Upsampler.build(grid_hw, stride, input_hw, output_hw)
    got = upsampler.strip(scores, 0, output_hw[0])
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=0)


@settings(max_examples=30)
@given(st.integers(1, 61), st.integers(1, 53), st.integers(1, 17))
def test_strips_equal_the_whole(height, width, step):
    grid_hw = (-(-31 // 8), -(-23 // 8))
    upsampler = Upsampler.build(grid_hw, 8, (31, 23), (height, width))
    scores = torch.randn(2, *grid_hw)
    strips = [
        upsampler.strip(scores, start, min(start + step, height))
        for start in range(0, height, step)
    ]
    whole = upsampler.strip(scores, 0, height)
    torch.testing.assert_close(torch.cat(strips, 1), whole, atol=1e-6, rtol=0)


def test_a_cell_covers_its_own_pixels():
    # The padded last cell is seen by its few pixels only; nothing is shifted (KITTI: 375 rows).
    scores = torch.zeros(1, 24, 1)
    scores[0, 3] = 1
    got = Upsampler.build((24, 1), 16, (375, 16), (375, 16)).strip(scores, 0, 375)[0, :, 0]
    centre = (got * torch.arange(375)).sum() / got.sum()
    assert centre.item() == pytest.approx(3 * 16 + 7.5)


def test_a_grid_that_does_not_cover_its_input_is_refused():
    with pytest.raises(RecosegError, match=r"ceil\(375 / 16\) = 24 cells.*got 23"):
        axis_matrix(23, 16, 375, 375)
    with pytest.raises(RecosegError, match="got 25"):
        axis_matrix(25, 16, 375, 375)
