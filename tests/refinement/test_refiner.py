import json
import sys
from dataclasses import asdict, replace

import pytest
import torch

from recoseg.errors import MissingExtraError, RecosegError, UnknownNameError
from recoseg.refinement.crf import crf
from recoseg.refinement.lposs import LpossSettings, lposs_pixels
from recoseg.refinement.mean_field import CrfSettings
from recoseg.refinement.pamr import pamr
from recoseg.refinement.refiner import (
    PUBLISHED_TEMPERATURE,
    CrfRefiner,
    LpossRefiner,
    PamrRefiner,
    PamrSettings,
    RefineSettings,
    build_refiner,
    probabilities,
)

from .scenes import scene


@pytest.fixture
def scores_and_images():
    image, probs, _ = scene(23, 29, 4)
    return 0.2 * probs.log()[None], image[None]


def test_probabilities_are_the_softmax_at_the_temperature():
    scores = torch.tensor([0.1, 0.3]).view(1, 2, 1, 1)
    expected = 1 / (1 + torch.exp(torch.tensor(-0.2 / 0.05)))
    assert torch.allclose(probabilities(scores, 0.05)[0, 1], expected)
    assert probabilities(scores.half(), 0.05).dtype == torch.float32


def test_none_refines_nothing():
    assert build_refiner(RefineSettings()) is None


def test_pamr_gets_its_settings(scores_and_images):
    scores, images = scores_and_images
    chosen = RefineSettings("pamr", 0.3, pamr=PamrSettings(2, (1, 5)))
    with build_refiner(chosen) as refiner:
        assert isinstance(refiner, PamrRefiner)
        expected = pamr((scores / 0.3).softmax(1), images, 2, (1, 5))
        assert torch.equal(refiner(images, scores), expected)


def test_crf_gets_its_settings(scores_and_images):
    pytest.importorskip("pydensecrf.densecrf")
    scores, images = scores_and_images
    chosen = RefineSettings("crf", 0.3, crf=CrfSettings(iterations=2, gaussian_compat=1))
    with build_refiner(chosen) as refiner:
        assert isinstance(refiner, CrfRefiner)
        expected = crf((scores / 0.3).softmax(1), images, chosen.crf)
        assert torch.equal(refiner(images, scores), expected)


@pytest.mark.parametrize("form", ["pamr", "crf"])
def test_a_refiner_gives_probabilities_of_the_same_shape(form, scores_and_images):
    if form == "crf":
        pytest.importorskip("pydensecrf.densecrf")
    scores, images = scores_and_images
    with build_refiner(RefineSettings(form, 0.2), workers=1) as refiner:
        refined = refiner(images, scores.half())
        assert refined.shape == scores.shape
        assert refined.dtype == torch.float32
        assert torch.allclose(refined.sum(1), torch.ones(1, 23, 29), atol=1e-4)
        shifted = refiner(images, scores + 0.7)  # the softmax knows no common shift
        assert torch.allclose(shifted, refiner(images, scores), atol=1e-3)


def test_lposs_plus_spreads_scores_before_they_become_probabilities(scores_and_images):
    scores, images = scores_and_images
    chosen = RefineSettings("lposs+", 0.3, lposs=LpossSettings(square=5, alpha=0.8))
    assert chosen.spreads_patches
    with build_refiner(chosen) as refiner:
        assert isinstance(refiner, LpossRefiner)
        expected = lposs_pixels(scores[0], images[0], chosen.lposs)
        refined = refiner(images, scores)
    torch.testing.assert_close(refined[0], (0.2 * expected / 0.3).softmax(0))
    assert (refined[0].argmax(0) == expected.argmax(0)).float().mean() > 0.99


def test_lposs_refines_nothing_at_pixels():
    assert build_refiner(RefineSettings("lposs")) is None
    assert RefineSettings("lposs").spreads_patches
    assert not RefineSettings("pamr").spreads_patches


def test_closing_ends_the_processes_of_the_crf(scores_and_images):
    pytest.importorskip("pydensecrf.densecrf")
    scores, images = scores_and_images
    both = scores.expand(2, -1, -1, -1), images.expand(2, -1, -1, -1)
    with build_refiner(RefineSettings("crf"), workers=2) as refiner:
        refined = refiner(both[1], both[0])
        processes = list(refiner._pool._executor._processes.values())
        assert processes
    assert not any(process.is_alive() for process in processes)
    assert torch.equal(refined[0], refined[1])


def test_the_missing_library_is_told_when_the_refiner_is_built(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(MissingExtraError, match="pydensecrf2"):
        build_refiner(RefineSettings("crf"))


def test_settings_survive_json():
    chosen = RefineSettings("crf", 0.05, PamrSettings(3, (2, 7)), CrfSettings(bilateral_srgb=5))
    assert RefineSettings.from_json(json.loads(json.dumps(asdict(chosen)))) == chosen
    assert RefineSettings.from_json(asdict(RefineSettings())) == RefineSettings()


def test_the_default_temperature_is_the_published_one():
    assert RefineSettings().temperature == PUBLISHED_TEMPERATURE == 1


def test_wrong_settings_are_refused():
    with pytest.raises(
        UnknownNameError, match=r"refinement 'sam'\. Valid: none, pamr, crf, lposs, lposs\+"
    ):
        RefineSettings("sam")
    for wrong in (0, -1.0, float("nan"), float("inf")):
        with pytest.raises(RecosegError, match=r"temperature is .*; expected more than 0"):
            replace(RefineSettings(), temperature=wrong)
    with pytest.raises(RecosegError, match="iterations is -1"):
        PamrSettings(iterations=-1)
    with pytest.raises(RecosegError, match="dilations of 1 or more"):
        PamrSettings(dilations=())
    fields = asdict(RefineSettings())
    for wrong in ({"iterations": 10**9}, {"dilations": [10**9]}, {"dilations": [1] * 65}):
        with pytest.raises(RecosegError, match=r"expected 0 to 10,000|at most 64 dilations"):
            RefineSettings.from_json(fields | {"pamr": fields["pamr"] | wrong})
    for wrong in ({"iterations": 10**9}, {"clip": float("inf")}, {"bilateral_compat": 1e999}):
        with pytest.raises(RecosegError, match=f"{next(iter(wrong))} is"):
            RefineSettings.from_json(fields | {"crf": fields["crf"] | wrong})
