import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from recoseg.photos.keep_ratio import keep_ratio_size, resize_keep_ratio


def picture(width, height):
    pixels = np.random.default_rng(width).integers(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.mark.parametrize("size", [(500, 375), (333, 500), (2048, 1024), (4000, 300), (3, 900)])
@pytest.mark.parametrize("short_side", [336, 560])
def test_the_size_fits_within_both_sides(size, short_side):
    found = keep_ratio_size(size, short_side, 2048)
    assert min(found) <= short_side
    assert max(found) <= 2048
    assert min(found) == short_side or max(found) == 2048
    exact = [side * min(2048 / max(size), short_side / min(size)) for side in size]
    assert np.abs(np.array(found) - exact).max() <= 0.5


@pytest.mark.parametrize("size", [(50, 37), (31, 64), (9, 200), (16, 16)])
def test_equal_to_bilinear_interpolation_without_antialias(size):
    image = picture(*size)
    found = resize_keep_ratio(image, 16, 64)
    width, height = keep_ratio_size(size, 16, 64)
    assert found.size == (width, height)
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float()
    expected = F.interpolate(pixels, (height, width), mode="bilinear", align_corners=False)[0]
    np.testing.assert_allclose(np.asarray(found).transpose(2, 0, 1), expected.numpy(), atol=0.51)


def test_photos_of_the_right_size_stay():
    image = picture(64, 16)
    assert resize_keep_ratio(image, 16, 64) is image
    assert resize_keep_ratio(image, 0, 64) is image
