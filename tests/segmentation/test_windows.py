"""Windows at any pixel: where they are, what they cost, and that their mean is the definition's."""

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from recoseg.config import Fusion
from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import RecosegError
from recoseg.photos.load import LoadedPhoto
from recoseg.photos.refs import Photo
from recoseg.regions.axes import axis_matrix, cell_matrix
from recoseg.segmentation.branches import Branch
from recoseg.segmentation.fused_scores import FusedScores
from recoseg.segmentation.fusion import fusion_rule
from recoseg.segmentation.input_plan import InputPlan
from recoseg.segmentation.score_grids import Grid, score_grids, whole_grid
from recoseg.segmentation.windows import Windows, window_starts
from tests import fixtures

from .fakes import ColourEncoder


@settings(max_examples=100)
@given(st.integers(1, 500), st.integers(1, 90), st.integers(1, 90))
def test_starts_equal_the_published_rule(length, window, step):
    step = min(step, window)
    count = max(length - window + step - 1, 0) // step + 1
    expected = [max(min(i * step, length - window), 0) for i in range(count)]
    starts = window_starts(length, window, step)
    assert list(starts) == expected
    covered = {pixel for start in starts for pixel in range(start, start + window)}
    assert set(range(length)) <= covered


def test_windows_by_hand():
    windows = Windows.over((40, 67), 64, 32)
    assert windows == Windows((0,), (0, 3))
    pixels = torch.arange(2 * 3 * 40 * 67).remainder(251).byte().view(2, 3, 40, 67)
    crops = windows.cut(pixels)
    assert [tuple(crop.shape) for crop in crops] == [(3, 40, 64)] * 4
    assert torch.equal(crops[1], pixels[0, :, :, 3:])
    assert torch.equal(crops[2], pixels[1, :, :, :64])
    assert Windows.over((40, 64), 64, 32).are_one


@pytest.mark.parametrize(("window", "step"), [(8, 9), (0, 1), (8, 0)])
def test_windows_that_leave_gaps_are_refused(window, step):
    with pytest.raises(RecosegError, match="1 <= step <= window"):
        window_starts(100, window, step)


@pytest.mark.parametrize(
    ("asked", "expected"), [((41, 20), (41, 20)), ((45, None), (45, 22)), ((16, 1), (16, 1))]
)
def test_a_plan_has_the_windows_that_were_asked_for(asked, expected):
    plan = InputPlan.of(0, *asked, batch_size=8)
    assert (plan.window, plan.step) == expected


def test_a_plan_refuses_what_is_impossible():
    for name, options in (
        ("window", (0, -1, None, 8)),
        ("window_step", (0, 16, 0, 8)),
        ("resize", (-1, None, None, 8)),
        ("batch_size", (0, None, None, 0)),
    ):
        with pytest.raises(RecosegError, match=f"{name} is "):
            InputPlan.of(*options)
    with pytest.raises(RecosegError, match="window_step is 50 and window 24; windows would leave"):
        InputPlan.of(0, 24, 50, 8)


class Places:
    """Features that differ with the window: noise that the window's first pixels decide."""

    def __init__(self, stride):
        self.info = EncoderInfo("places", "random", f"{stride:016d}", 5, stride)

    def features(self, images):
        rows, columns = (-(-side // self.info.stride) for side in images.shape[2:])
        parts = []
        for image in images:
            seed = int(image.long().flatten().dot(torch.arange(image.numel())) % 1_000_003)
            generator = torch.Generator().manual_seed(seed)
            parts.append(torch.randn(5, rows, columns, generator=generator))
        return torch.stack(parts)


def branch(encoder):
    return Branch(f"text:{encoder.info.stride}", encoder, lambda features: features, (encoder,))


def image_of(height, width):
    return torch.randint(0, 256, (3, height, width)).byte()


@pytest.mark.parametrize("stride", [3, 4, 7])
@pytest.mark.parametrize(
    ("input_hw", "output_hw", "window", "step"),
    [
        ((13, 18), (9, 21), 8, 5),
        ((30, 41), (30, 41), 11, 4),
        ((6, 33), (17, 50), 9, 9),
        ((25, 25), (40, 40), 24, 1),
    ],
)
def test_the_mean_equals_the_definition(stride, input_hw, output_hw, window, step):
    """Each window up-sampled to its pixels, added up, divided by counts, and resized."""
    torch.manual_seed(0)
    photos = torch.stack([image_of(*input_hw) for _ in range(2)])
    encoder = Places(stride)
    one = branch(encoder)
    [grids] = score_grids(photos, [[one]], InputPlan.of(0, window, step, 3))
    grid = grids[one.name]
    for photo, tiled in zip(photos, grid.scores, strict=True):
        total, count = torch.zeros(5, *input_hw), torch.zeros(input_hw)
        for y in window_starts(input_hw[0], window, step):
            for x in window_starts(input_hw[1], window, step):
                crop = photo[:, y : y + window, x : x + window]
                cells = encoder.features(crop[None])
                size = [side * stride for side in cells.shape[2:]]
                up = F.interpolate(cells, size, mode="bilinear", align_corners=False)[0]
                height, width = crop.shape[1:]
                total[:, y : y + height, x : x + width] += up[:, :height, :width]
                count[y : y + height, x : x + width] += 1
        mean = total / count
        expected = F.interpolate(mean[None], output_hw, mode="bilinear", align_corners=False)[0]
        image = Image.new("RGB", output_hw[::-1])
        fused = FusedScores(image, input_hw, [grid._replace(scores=tiled)], fusion_rule("text"))
        torch.testing.assert_close(fused(0, output_hw[0]), expected, rtol=0, atol=1e-5)
        middle = output_hw[0] // 2
        strips = torch.cat([fused(0, middle), fused(middle, output_hw[0])], dim=1)
        torch.testing.assert_close(strips, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("window", "step"), [(24, 12), (36, 12), (12, 12)])
def test_a_whole_grid_is_the_mean_of_cells_where_windows_are_whole_cells(window, step):
    """Where windows are whole cells, the mean over windows needs no interpolation."""
    torch.manual_seed(0)
    photo, encoder = image_of(48, 60), Places(4)
    one = branch(encoder)
    [grids] = score_grids(photo[None], [[one]], InputPlan.of(0, window, step, 4))
    grid = grids[one.name]
    total, count = torch.zeros(5, 12, 15), torch.zeros(12, 15)
    for y in window_starts(48, window, step):
        for x in window_starts(60, window, step):
            cells = encoder.features(photo[None, :, y : y + window, x : x + window])[0]
            rows, columns = slice(y // 4, (y + window) // 4), slice(x // 4, (x + window) // 4)
            total[:, rows, columns] += cells
            count[rows, columns] += 1
    found = whole_grid(grid._replace(scores=grid.scores[0]), (48, 60))
    assert found.windows.are_one
    torch.testing.assert_close(found.scores, total / count)


@pytest.mark.parametrize(("stride", "window", "step"), [(4, 13, 5), (7, 20, 9), (5, 8, 8)])
def test_a_whole_grid_keeps_what_is_linear(stride, window, step):
    """Cells that hold their own place give it back, but for the borders of windows."""
    length = 61
    starts = window_starts(length, window, step)
    cells = -(-window // stride)
    matrix = cell_matrix(cells, stride, length, starts)
    assert matrix.shape == (-(-length // stride), len(starts) * cells)
    torch.testing.assert_close(matrix.sum(1), torch.ones(len(matrix)))
    places = torch.cat([start + (torch.arange(cells) + 0.5) * stride for start in starts])
    centres = (torch.arange(len(matrix)) + 0.5) * stride
    assert (matrix @ places - centres).abs().max() <= stride / 2
    assert torch.equal(cell_matrix(13, 5, 61, (0,)), torch.eye(13))


def test_one_window_is_the_photo_itself():
    torch.manual_seed(0)
    photo, encoder = image_of(21, 34), ColourEncoder(4)
    one = branch(encoder)
    plans = [InputPlan.of(0, *asked, 4) for asked in ((None, None), (34, 10))]
    whole, large = (score_grids(photo[None], [[one]], plan)[0][one.name] for plan in plans)
    assert torch.equal(whole.scores, large.scores)
    assert whole.windows == large.windows == Windows()
    assert whole_grid(whole, (21, 34)) is whole


def fixture_encoder(tensors, metadata):
    """The fixture's own tower as an encoder, with the form of its last layer."""
    from open_clip.transformer import LayerNorm, QuickGELU, VisionTransformer

    from recoseg.encoders.attention.recipes import VIT_RECIPES

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
    tower.load_state_dict({k[6:]: v.float() for k, v in tensors.items() if k.startswith("model.")})
    middle, scale = (torch.tensor(norm[key]).view(1, 3, 1, 1) for key in ("mean", "std"))

    class Encoder:
        info = EncoderInfo("tower", "fixture", "0" * 16, shape["out"], shape["patch"])

        @torch.inference_mode()
        def features(self, images):
            return VIT_RECIPES["sclip"].compute(tower, (images.float() / 255 - middle) / scale)

    return Encoder()


@fixtures.needed
@pytest.mark.parametrize("case", ["whole_cells", "part_cells"])
def test_equal_to_the_published_code(case):
    tensors, metadata = fixtures.load("slide")
    encoder = fixture_encoder(tensors, metadata)

    def cosines(features):
        return torch.einsum("ndhw,md->nmhw", F.normalize(features, dim=1), tensors["text"])

    pixels = tensors[f"image.{case}"].byte()
    original = tuple(json.loads(metadata["original"])[case])
    one = Branch("text:tower", encoder, cosines, (encoder,))
    plan = InputPlan.of(0, int(metadata["crop"]), int(metadata["stride"]), 3)
    [grids] = score_grids(pixels, [[one]], plan)
    grid: Grid = grids[one.name]
    input_hw = tuple(pixels.shape[2:])
    assert not grid.windows.are_one
    image = Image.new("RGB", original[::-1])
    fused = FusedScores(
        image, input_hw, [grid._replace(scores=grid.scores[0])], fusion_rule("text")
    )
    expected = tensors[f"expected.{case}"][0]
    torch.testing.assert_close(fused(0, original[0]), expected, rtol=0, atol=1e-5)


@fixtures.needed
@pytest.mark.parametrize("case", ["whole_cells", "part_cells"])
def test_a_bank_equals_the_published_code(case):
    from recoseg.classes import ClassNames
    from recoseg.concepts import Concept, ConceptBank
    from recoseg.config import BankSettings
    from recoseg.encoders.bundle import EncoderInfos
    from recoseg.segmentation.bank_segmenter import bank_segmenter

    tensors, metadata = fixtures.load("slide")
    encoder = fixture_encoder(tensors, metadata)
    phi = ColourEncoder(8)
    none = torch.zeros(0, encoder.info.dim)
    concepts = [
        Concept(
            ClassNames(str(number), (str(number),)),
            "class",
            {phi.info.key: torch.eye(3)[:1]},
            row[None].clone(),
            none,
        )
        for number, row in enumerate(tensors["text"])
    ]
    infos = EncoderInfos(encoder.info, encoder.info, (phi.info,))
    bank = ConceptBank(tuple(concepts), infos, BankSettings())
    made = bank_segmenter(
        bank,
        phi=phi,
        saliency=encoder,
        fusion=Fusion("text"),
        resize=0,
        window=int(metadata["crop"]),
        window_step=int(metadata["stride"]),
        keep_scores=True,
    )
    height, width = json.loads(metadata["original"])[case]
    image = Image.new("RGB", (width, height))
    found = made(LoadedPhoto(Photo(""), tensors[f"image.{case}"][0].byte(), image))
    expected = tensors[f"expected.{case}"][0].numpy()
    np.testing.assert_allclose(found.scores, expected, atol=1e-3)  # kept in fp16
    assert (found.labels == expected.argmax(0)).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(9, 60), st.integers(1, 8), st.integers(1, 5))
def test_tapered_windows_count_less_towards_their_ends(pixels, step, stride):
    starts = window_starts(pixels, 8, step)
    cells = -(-8 // stride)
    grids = torch.randn(len(starts), cells)
    own = [axis_matrix(cells, stride, 8, 8) @ grid for grid in grids]
    expected = []
    for pixel in range(pixels):
        total = weights = 0.0
        for start, values in zip(starts, own, strict=True):
            if start <= pixel < start + 8:
                weight = min(pixel - start, start + 7 - pixel) + 0.5
                total += weight * float(values[pixel - start])
                weights += weight
        expected.append(total / weights)
    found = axis_matrix(cells, stride, pixels, pixels, starts, True) @ grids.ravel()
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)
