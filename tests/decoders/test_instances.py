"""The best instances, each once, against loops over pairs and pixels."""

import torch

from recoseg.decoders.instances import Instances, best_of, none


def overlap(one, other):
    both = either = 0
    for a, b in zip(one.flatten().tolist(), other.flatten().tolist(), strict=True):
        both += a > 0.5 and b > 0.5
        either += a > 0.5 or b > 0.5
    return both / either


def kept_slowly(found, most, limit):
    kept = []
    order = sorted(range(len(found.scores)), key=lambda index: -found.scores[index].item())
    for index in order:
        mask = found.masks[index]
        same = [k for k in kept if found.classes[k] == found.classes[index]]
        if (mask > 0.5).any() and all(overlap(mask, found.masks[k]) <= limit for k in same):
            kept.append(index)
    return kept[:most]


def test_copies_of_a_better_instance_of_the_class_are_left_out():
    generator = torch.Generator().manual_seed(0)
    blobs = torch.rand(4, 5, 6, generator=generator)
    noise = 0.4 * torch.rand(24, 5, 6, generator=generator)
    masks = (0.6 * blobs.repeat(6, 1, 1) + noise).half()
    masks[3] = 0
    classes = torch.arange(24) % 3
    scores = torch.rand(24, generator=generator)
    found = Instances(classes, scores, masks)
    for most in (100, 5):
        expected = kept_slowly(found, most, 0.5)
        best = best_of(found, most)
        assert best.scores.tolist() == scores[expected].tolist()
        assert best.classes.tolist() == classes[expected].tolist()
        assert torch.equal(best.masks, masks[expected])
    assert 5 < len(best_of(found).scores) < 24


def test_none_stay_none():
    assert len(best_of(none((3, 4))).scores) == 0
