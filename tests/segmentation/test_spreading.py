"""LPOSS between the grids of scores and the pixels."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recoseg.config import Fusion
from recoseg.pipeline.segment import open_segmenter
from recoseg.refinement.lposs import LpossSettings, lposs, lposs_pixels, patch_centres
from recoseg.refinement.refiner import RefineSettings
from recoseg.segmentation.bank_segmenter import bank_segmenter

from .fakes import ColourEncoder, make_bank
from .test_bank_segmenter import noise

SETTINGS = LpossSettings(neighbours=20, alpha=0.8, steps=30)


def made(form="sum", refine="lposs", text_stride=6, **options):
    return bank_segmenter(
        make_bank(text_stride=text_stride),
        phi=ColourEncoder(4),
        saliency=ColourEncoder(text_stride),
        fusion=Fusion(form),
        refine=RefineSettings(refine, lposs=SETTINGS),
        **options,
    )


def expected_grid(pixels, form, text_stride):
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    rows = torch.cat([concept.text_positive for concept in make_bank().classes])
    parts = []
    for stride in (4, text_stride):
        unit = F.normalize(ColourEncoder(stride).features(image), dim=1)
        parts.append(torch.einsum("nchw,mc->nmhw", unit, rows))
    size = parts[0].shape[2:]
    if form == "product":
        parts = [torch.sigmoid(parts[0]), torch.sigmoid(10 * parts[1])]
    text = F.interpolate(parts[1], size, mode="bilinear")
    fused = {
        "product": lambda: parts[0] * text,
        "sum": lambda: parts[0] + 0.4 * text,
        "visual": lambda: parts[0],
        "text": lambda: text,
    }[form]()
    features = ColourEncoder(4).features(image)[0].flatten(1).T
    found = lposs(fused[0].flatten(1).T, features, patch_centres(tuple(size), 4), SETTINGS)
    return 0.2 * found.T.view(1, 3, *size)


@pytest.mark.parametrize("text_stride", [4, 6])
@pytest.mark.parametrize("form", ["product", "sum", "visual", "text"])
def test_fused_scores_are_spread_on_the_grid_of_phi(form, text_stride):
    pixels = noise(0, 38, 52)
    found = made(form, text_stride=text_stride, keep_scores=True)(pixels)
    grid = expected_grid(pixels, form, text_stride)
    large = F.interpolate(grid, (40, 52), mode="bilinear")[0, :, :38]
    np.testing.assert_allclose(found.scores, large.numpy(), atol=2e-3)  # kept in fp16
    assert (found.labels == large.argmax(0).numpy()).mean() > 0.99


def test_pixels_follow_patches():
    pixels = noise(1, 32, 40)
    found = made(refine="lposs+")(pixels)
    large = F.interpolate(expected_grid(pixels, "sum", 6), (32, 40), mode="bilinear")[0]
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    expected = lposs_pixels(large, image, SETTINGS).argmax(0).numpy()
    assert (found.labels == expected).mean() > 0.99
    assert (found.labels != made()(pixels).labels).any()


def test_windows_give_the_mean_of_features_and_scores():
    pixels = noise(2, 60, 60)
    tiled = made(keep_scores=True, window=24, window_step=12)(pixels)
    np.testing.assert_allclose(tiled.scores, made(keep_scores=True)(pixels).scores, atol=4e-3)


def test_the_steps_are_those_asked_for():
    options = {"phi": ColourEncoder(4), "saliency": ColourEncoder(6)}
    opened = open_segmenter(make_bank(), refine="lposs", refine_steps=3, **options)
    assert opened.settings["refine"]["lposs"]["steps"] == 3
    assert opened.labeller.refiner is None
    plain = open_segmenter(make_bank(), refine="pamr", refine_steps=0, **options)
    assert "lposs" not in plain.settings["refine"]
