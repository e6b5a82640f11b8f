import json
import math
from dataclasses import asdict

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from recoseg.errors import RecosegError
from recoseg.training.losses import weighted_cross_entropy
from recoseg.training.recipe import Augmentation, Recipe, recipe
from recoseg.training.schedule import average_decay, polynomial_decay


def test_the_papers_recipe():
    paper = recipe("paper")
    assert (paper.encoder, paper.output_stride, paper.separable) == ("resnet101", 8, False)
    assert (paper.lr, paper.encoder_lr, paper.weight_decay) == (0.0005, 0.1, 0.0002)
    assert (paper.iterations, paper.batch_size, paper.decay_power) == (20_000, 8, 0.9)
    assert (paper.confidence, paper.keep, paper.freeze_encoder) == (False, "last", False)
    shapes = paper.augmentation
    assert (shapes.short_side, shapes.centre_crop, shapes.crop) == (320, True, 320)
    assert (shapes.scale, shapes.flip) == ((0.5, 2.0), 0.5)
    assert (shapes.jitter, shapes.jitter_p) == ((0.8, 0.8, 0.8, 0.2), 0.8)
    assert (shapes.blur_p, shapes.blur_sigma) == (0.5, (0.1, 2.0))
    assert shapes.kernel == 33  # 10 % of 320 is 32; kernels are odd


def test_recipes_survive_json_and_can_be_changed():
    changed = recipe("paper", crop=256, lr=0.1, encoder=None)
    assert (changed.augmentation.crop, changed.lr, changed.encoder) == (256, 0.1, "resnet101")
    assert Recipe.from_json(json.loads(json.dumps(asdict(changed)))) == changed


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keep": "best"}, "Unknown choice of weights 'best'. Valid: last, ema, best-on-ground"),
        ({"output_stride": 32}, "output_stride is 32; expected 8 or 16"),
        ({"crop": 100}, "crop is 100; expected a multiple of the output stride, 8"),
        ({"iterations": 0}, "iterations is 0; expected 1 or more"),
        ({"batch_size": 1}, "batch_size is 1; expected 2 or more"),
        ({"ema_decay": 1.0}, "ema_decay is 1.0"),
        ({"flip": 1.5}, "flip is 1.5; expected 0 to 1"),
        ({"scale": (2.0, 0.5)}, "scale is 2.0 to 0.5; expected 0 < low <= high"),
        ({"short_side": 0}, "short_side is 0"),
    ],
)
def test_values_out_of_range(changes, message):
    with pytest.raises(RecosegError, match=message):
        recipe("paper", **changes)


def test_unknown_recipe():
    with pytest.raises(RecosegError, match=r"Unknown recipe 'best'\. Valid: paper, short"):
        recipe("best")


def test_kernels_are_odd_and_never_above_the_share():
    for crop in range(8, 400, 8):
        kernel = Augmentation(crop=crop).kernel
        assert kernel % 2 == 1
        assert abs(kernel - crop / 10) <= 1.1


def test_polynomial_decay_by_hand():
    assert polynomial_decay(0, 20_000, 0.9) == 1
    assert polynomial_decay(5_000, 20_000, 0.9) == pytest.approx(math.exp(0.9 * math.log(0.75)))
    assert 5e-4 * polynomial_decay(10_000, 20_000, 0.9) == pytest.approx(2.67943e-4, rel=1e-5)
    assert 5e-5 * polynomial_decay(19_999, 20_000, 0.9) == pytest.approx(5e-5 * 20_000**-0.9)
    assert polynomial_decay(20_000, 20_000, 0.9) == 0
    assert polynomial_decay(20_001, 20_000, 0.9) == 0  # schedulers look one step ahead


def test_the_average_looks_back_further_with_time():
    assert [average_decay(n, 0.5) for n in (0, 2, 100)] == [0.1, 0.25, 0.5]


def slow_loss(logits, labels, weights):
    total = norm = 0.0
    n, _, h, w = logits.shape
    for i in range(n):
        for y in range(h):
            for x in range(w):
                label = int(labels[i, y, x])
                if label == 255:
                    continue
                powers = [math.exp(float(v)) for v in logits[i, :, y, x]]
                weight = float(weights[i, y, x])
                total -= weight * math.log(powers[label] / sum(powers))
                norm += weight
    return total / norm if norm else 0.0


@given(st.integers(0, 10**6))
@settings(max_examples=20)
def test_loss_against_a_slow_version(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 5, 7, generator=generator)
    labels = torch.randint(0, 3, (2, 5, 7), generator=generator)
    labels[torch.rand(2, 5, 7, generator=generator) < 0.3] = 255
    weights = torch.rand(2, 5, 7, generator=generator)
    found = weighted_cross_entropy(logits, labels, weights)
    assert float(found) == pytest.approx(slow_loss(logits, labels, weights), rel=1e-4)
    plain = weighted_cross_entropy(logits, labels)
    torch.testing.assert_close(plain, F.cross_entropy(logits, labels, ignore_index=255))


def test_loss_without_labels_is_zero_and_has_a_gradient():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = weighted_cross_entropy(logits, torch.full((1, 2, 2), 255))
    loss.backward()
    assert loss == 0
    assert (logits.grad == 0).all()
