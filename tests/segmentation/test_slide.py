import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recoseg.errors import RecosegError
from recoseg.segmentation.slide import PixelMean, slide_boxes, slide_starts
from recoseg.segmentation.windows import Box
from tests import fixtures


@pytest.mark.parametrize("length", [1, 63, 64, 65, 90, 96, 97, 200])
@pytest.mark.parametrize(("crop", "step"), [(64, 32), (64, 20), (7, 7), (1, 1)])
def test_starts_equal_the_published_rule(length, crop, step):
    count = max(length - crop + step - 1, 0) // step + 1
    expected = [max(min(i * step, length - crop), 0) for i in range(count)]
    assert slide_starts(length, crop, step) == expected


def test_boxes_by_hand():
    assert slide_boxes((67, 40), 64, 32) == [Box(0, 64, 0, 40), Box(3, 67, 0, 40)]


@pytest.mark.parametrize(("crop", "step"), [(8, 9), (0, 1), (8, 0)])
def test_windows_that_leave_gaps_are_refused(crop, step):
    with pytest.raises(RecosegError, match="1 <= step <= crop"):
        slide_starts(100, crop, step)


def bilinear(grid, height, width):
    """Bilinear up-sampling (align_corners=False), pixel by pixel."""
    rows, columns = grid.shape
    out = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            py = max((y + 0.5) * rows / height - 0.5, 0)
            px = max((x + 0.5) * columns / width - 0.5, 0)
            y0, x0 = min(int(py), rows - 1), min(int(px), columns - 1)
            y1, x1 = min(y0 + 1, rows - 1), min(x0 + 1, columns - 1)
            top = grid[y0, x0] * (1 - px + x0) + grid[y0, x1] * (px - x0)
            bottom = grid[y1, x0] * (1 - px + x0) + grid[y1, x1] * (px - x0)
            out[y, x] = top * (1 - py + y0) + bottom * (py - y0)
    return out


@pytest.mark.parametrize("stride", [4, 3])
def test_the_mean_equals_the_definition(stride):
    torch.manual_seed(0)
    photo_hw, output_hw = (13, 18), (9, 21)
    boxes = slide_boxes(photo_hw, 8, 5)
    cells = -(-8 // stride)
    padded = (cells * stride, cells * stride)
    grids = [torch.randn(2, cells, cells) for _ in boxes]
    mean = PixelMean(2, photo_hw)
    total, count = np.zeros((2, *photo_hw)), np.zeros(photo_hw)
    for box, grid in zip(boxes, grids, strict=True):
        mean.add(grid, box, padded)
        for c in range(2):
            pixels = bilinear(grid[c].numpy(), *padded)[:8, :8]
            total[c, box.y0 : box.y1, box.x0 : box.x1] += pixels
        count[box.y0 : box.y1, box.x0 : box.x1] += 1
    expected = total / count
    np.testing.assert_allclose(mean.mean(), expected, atol=1e-5)
    resized = np.stack([bilinear(one, *output_hw) for one in expected])
    np.testing.assert_allclose(mean.mean(output_hw), resized, atol=1e-5)


def test_a_pixel_without_a_window_is_an_error():
    mean = PixelMean(1, (4, 4))
    mean.add(torch.ones(1, 2, 2), Box(0, 4, 0, 3))
    with pytest.raises(RecosegError, match="not in any window"):
        mean.mean()


@fixtures.needed
@pytest.mark.parametrize("case", ["whole_cells", "part_cells"])
def test_equal_to_the_published_code(case):
    from open_clip.transformer import LayerNorm, QuickGELU, VisionTransformer

    from recoseg.encoders.attention.recipes import VIT_RECIPES

    tensors, metadata = fixtures.load("slide")
    shape, norm = json.loads(metadata["model"]), json.loads(metadata["normalisation"])
    tower = VisionTransformer(
        image_size=shape["image"],
        patch_size=shape["patch"],
        width=shape["width"],
        layers=shape["layers"],
        heads=shape["heads"],
        mlp_ratio=4.0,
        output_dim=shape["out"],
        act_layer=QuickGELU,
        norm_layer=LayerNorm,
    ).eval()
    weights = {k[6:]: v.float() for k, v in tensors.items() if k.startswith("model.")}
    tower.load_state_dict(weights)
    middle, scale = (torch.tensor(norm[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    photo = (tensors[f"image.{case}"].float() / 255 - middle) / scale
    crop, step = int(metadata["crop"]), int(metadata["stride"])
    photo_hw = tuple(photo.shape[2:])
    mean = PixelMean(len(tensors["text"]), photo_hw)
    for box in slide_boxes(photo_hw, crop, step):
        window = photo[:, :, box.y0 : box.y1, box.x0 : box.x1]
        with torch.no_grad():
            features = VIT_RECIPES["sclip"].compute(tower, window)
        unit = F.normalize(features, dim=1)[0]
        mean.add(torch.einsum("dhw,md->mhw", unit, tensors["text"]), box)
    original = tuple(json.loads(metadata["original"])[case])
    expected = tensors[f"expected.{case}"][0]
    torch.testing.assert_close(mean.mean(original), expected, rtol=0, atol=1e-5)
