"""The formulas of learning prompts, each compared with its definition in plain loops."""

import math

import numpy as np
import pytest
import torch

from recoseg.decoders.prompt_learning import (
    best_threshold,
    levelled,
    mean_tokens,
    soft_dice,
    word_weights,
)


def random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def test_soft_dice():
    probs, region = random(4, 3, 5), random(3, 5, seed=1) > 0.6
    for one, found in zip(probs, soft_dice(probs, region), strict=True):
        inside = both = 0.0
        for y in range(3):
            for x in range(5):
                inside += one[y, x].item() * region[y, x].item()
                both += one[y, x].item() + region[y, x].item()
        assert found.item() == pytest.approx(2 * inside / both, abs=1e-6)
    none = torch.zeros(3, 5)
    assert soft_dice(none, region) == 0
    assert soft_dice(region.float(), region) == 1
    assert soft_dice(none, none > 0) == 1


def test_word_weights():
    scores = [0.8, 0.55, 0.49, 0.75, 0.0]
    kept = [math.exp(score / 0.05) if score >= 0.8 - 0.3 else 0 for score in scores]
    expected = [value / sum(kept) for value in kept]
    assert expected[2] == expected[4] == 0
    found = word_weights(torch.tensor(scores))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


def test_mean_tokens_place_by_place():
    tokens = random(3, 4, 2)
    are_words = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]).bool()
    weights = torch.tensor([0.7, 0.3, 0.0])
    found, is_there = mean_tokens(tokens, are_words, weights)
    for place in range(4):
        total, sums = 0.0, [0.0, 0.0]
        for word in range(3):
            if are_words[word, place]:
                total += weights[word].item()
                for number in range(2):
                    sums[number] += (weights[word] * tokens[word, place, number]).item()
        assert is_there[place].item() == (total > 0)
        for number in range(2):
            expected = sums[number] / total if total else 0
            assert found[place, number].item() == pytest.approx(expected, abs=1e-6)
    assert is_there.tolist() == [True, True, True, False]  # a word without weight has no say


def hard_dice(probs, region, threshold):
    both = inside = 0
    for p, is_in in zip(probs.flatten().tolist(), region.flatten().tolist(), strict=True):
        inside += p >= threshold and is_in
        both += (p >= threshold) + is_in
    return 2 * inside / both if both else 1.0


def test_the_best_of_the_quantiles():
    probs = [random(6, 7, seed=n) for n in range(3)]
    regions = [one + 0.3 * random(6, 7, seed=9) > 0.7 for one in probs]
    threshold, dice = best_threshold(probs, regions, 16)
    values = sorted(value for one in probs for value in one.flatten().tolist())
    tried = [values[math.ceil(n * (len(values) - 1) / 15)] for n in range(16)]
    scores = [
        sum(hard_dice(one, own, level) for one, own in zip(probs, regions, strict=True)) / 3
        for level in tried
    ]
    best = scores.index(max(scores))
    place = values.index(tried[best])
    assert dice == pytest.approx(scores[best])
    assert threshold == pytest.approx((values[place - 1] + values[place]) / 2)
    assert 0 < best < 15


def test_a_threshold_with_nothing_below_it_takes_all():
    everything = torch.ones(2, 2, dtype=torch.bool)
    assert best_threshold([torch.full((2, 2), 0.25)], [everything]) == (0.25, 1.0)


@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5, 0.93, 1.0])
def test_levelled_probabilities_have_the_threshold_at_a_half(threshold):
    probs = torch.linspace(0, 1, 101)
    found = levelled(probs, threshold)
    assert ((found >= 0.5) == (probs >= threshold)).all()
    assert (found.diff() >= 0).all()
    assert found.min() >= 0
    assert found.max() == 1
    for p, own in zip(probs.tolist(), found.tolist(), strict=True):
        if 0 < threshold < 1:
            below = p < torch.tensor(threshold).item()
            line = p / threshold / 2 if below else 0.5 + (p - threshold) / (1 - threshold) / 2
            assert own == pytest.approx(line, abs=1e-6)
