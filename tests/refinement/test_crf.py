import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.errors import MissingExtraError, RecosegError
from recoseg.refinement.crf import CrfPool, crf
from recoseg.refinement.mean_field import CrfSettings, mean_field

from .literal import literal_mean_field
from .scenes import accuracy, scene

pytest.importorskip("pydensecrf.densecrf")


def stacked(count, classes=3, hw=(23, 29)):
    scenes = [scene(*hw, classes, seed) for seed in range(count)]
    return torch.stack([s[1] for s in scenes]), torch.stack([s[0] for s in scenes])


@pytest.mark.parametrize(
    "chosen",
    [
        CrfSettings(),
        CrfSettings(iterations=1),
        CrfSettings(bilateral_compat=0),
        CrfSettings(gaussian_compat=0),
        CrfSettings(bilateral_sxy=8, bilateral_srgb=10),
        CrfSettings(gaussian_compat=1, bilateral_compat=1),
    ],
    ids=str,
)
def test_near_the_mean_field_with_exact_kernels(chosen):
    # The library filters on a lattice, an approximation: single pixels may differ much.
    for seed in range(2):
        image, probs, _ = scene(23, 29, 3, seed)
        refined = mean_field(probs.numpy(), image.numpy(), chosen)
        exact = literal_mean_field(probs.numpy(), image.numpy(), chosen)
        assert np.abs(refined - exact).mean() < 0.006
        assert (refined.argmax(0) == exact.argmax(0)).mean() > 0.98


def test_the_defaults_are_the_published_parameters():
    chosen = CrfSettings()
    assert (chosen.iterations, chosen.gaussian_sxy, chosen.gaussian_compat) == (10, 1, 3)
    assert (chosen.bilateral_sxy, chosen.bilateral_srgb, chosen.bilateral_compat) == (67, 3, 4)


def test_no_iteration_gives_the_clipped_probabilities():
    probs, images = stacked(1)
    probs[0, :, 0, 0] = torch.tensor([1.0, 0.0, 0.0])
    refined = crf(probs, images, CrfSettings(iterations=0, clip=0.01))
    expected = probs.clamp(min=0.01)
    assert torch.allclose(refined, expected / expected.sum(1, keepdim=True), atol=1e-5)


@settings(max_examples=20)
@given(seed=st.integers(0, 1000), classes=st.integers(1, 5))
def test_results_are_probabilities(seed, classes):
    image, probs, _ = scene(11, 13, classes, seed)
    refined = crf(probs[None], image[None])
    assert refined.shape == (1, classes, 11, 13)
    assert refined.min() >= 0
    assert torch.allclose(refined.sum(1), torch.ones(1, 11, 13), atol=1e-5)


@settings(max_examples=20)
@given(order=st.permutations(range(4)))
def test_the_order_of_the_classes_does_not_matter(order):
    image, probs, _ = scene(11, 17, 4)
    refined = crf(probs[None], image[None])
    assert torch.allclose(crf(probs[None, order], image[None]), refined[:, order], atol=1e-4)


def test_noisy_scores_become_more_often_right():
    image, probs, truth = scene(61, 67, 3)
    assert accuracy(probs, truth) < 0.7
    assert accuracy(crf(probs[None], image[None])[0], truth) > 0.98


def test_batches_and_processes_give_what_one_image_gives():
    probs, images = stacked(3)
    alone = torch.cat([crf(probs[i : i + 1], images[i : i + 1]) for i in range(3)])
    assert torch.equal(crf(probs, images), alone)
    with CrfPool(2) as pool:
        assert torch.equal(pool(probs, images), alone)
        executor = pool._executor
        assert executor is not None
        processes = list(executor._processes.values())
        assert torch.equal(pool(probs[1:], images[1:]), alone[1:])
        assert pool._executor is executor
    assert pool._executor is None
    assert not any(process.is_alive() for process in processes)


def test_one_image_starts_no_process():
    probs, images = stacked(1)
    with CrfPool(2) as pool:
        pool(probs, images)
        assert pool._executor is None


def test_a_process_that_dies_is_an_error_with_advice(monkeypatch):
    probs, images = stacked(2)
    with CrfPool(2) as pool:
        pool(probs, images)
        for process in pool._executor._processes.values():
            process.kill()
        with pytest.raises(RecosegError, match="use fewer workers"):
            pool(probs, images)
        assert torch.equal(pool(probs, images), crf(probs, images))


def test_half_precision_is_computed_in_fp32():
    probs, images = stacked(1)
    refined = crf(probs.half(), images)
    assert refined.dtype == torch.float32
    assert torch.equal(refined, crf(probs.half().float(), images))


def test_the_missing_library_is_an_error_with_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'recoseg\[crf\]'"):
        CrfPool()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"iterations": -1}, "iterations is -1; expected 0 to 10,000"),
        ({"bilateral_srgb": 0}, "bilateral_srgb is 0; expected more than 0"),
        ({"gaussian_compat": -1.0}, "gaussian_compat is -1.0; expected 0 or more"),
        ({"clip": float("nan")}, "clip is nan; expected more than 0"),
    ],
)
def test_settings_out_of_range_are_refused(fields, message):
    with pytest.raises(RecosegError, match=message):
        CrfSettings(**fields)


@pytest.mark.wrong_shapes
def test_wrong_inputs_are_refused():
    probs, images = stacked(1)
    with pytest.raises(RecosegError, match=r"uint8 images .* torch.float32 \(1, 3, 23, 29\)"):
        crf(probs, images.float())
    with pytest.raises(RecosegError, match=r"same pixels; got \(1, 3, 23, 29\)"):
        crf(probs, images.transpose(2, 3))
    with pytest.raises(RecosegError, match="workers is 0; expected 1 or more"):
        crf(probs, images, workers=0)
