import json
import math

import pytest
import torch

from recoseg.errors import RecosegError
from recoseg.segmentation.names import (
    PUBLISHED_AMBIGUITY,
    blend_photo,
    class_probabilities,
    is_ambiguous,
    labels_of,
    name_probabilities,
    present_by_best,
    without_small_classes,
    zero_absent,
)
from tests import fixtures


def cosines(names=5, hw=(6, 7), seed=0):
    torch.manual_seed(seed)
    return 0.2 * torch.randn(names, *hw)


def literal(cosines, class_of_name, temperature, area_thd, prob_thd):
    """Probabilities of classes and labels, place by place."""
    names, height, width = cosines.shape
    classes = max(class_of_name) + 1
    table = [[[0.0] * width for _ in range(height)] for _ in range(classes)]
    for y in range(height):
        for x in range(width):
            powers = [math.exp(temperature * float(cosines[m, y, x])) for m in range(names)]
            for name, power in enumerate(powers):
                row = table[class_of_name[name]][y]
                row[x] = max(row[x], power / sum(powers))

    def winner(y, x):
        return max(range(classes), key=lambda c: (table[c][y][x], -c))

    if area_thd is not None:
        areas = [0] * classes
        for y in range(height):
            for x in range(width):
                areas[winner(y, x)] += 1
        for c in range(1, classes):
            if areas[c] <= area_thd * sum(areas[1:]):
                table[c] = [[0.0] * width for _ in range(height)]
    labels = [
        [0 if table[winner(y, x)][y][x] < prob_thd else winner(y, x) for x in range(width)]
        for y in range(height)
    ]
    return torch.tensor(table), torch.tensor(labels)


@pytest.mark.parametrize("area_thd", [None, 0.0, 0.2, 0.6])
@pytest.mark.parametrize("prob_thd", [0.0, 0.4])
def test_equal_to_the_definition(area_thd, prob_thd):
    class_of_name = torch.tensor([2, 0, 0, 1, 2])
    scores = cosines()
    got = class_probabilities(name_probabilities(scores, 10), class_of_name)
    if area_thd is not None:
        got = without_small_classes(got, area_thd)
    labels = labels_of(got, prob_thd)
    expected = literal(scores, class_of_name.tolist(), 10, area_thd, prob_thd)
    torch.testing.assert_close(got, expected[0])
    assert torch.equal(labels, expected[1])


@fixtures.needed
@pytest.mark.parametrize("case", ["plain", "threshold", "area"])
def test_equal_to_the_published_code(case):
    tensors, metadata = fixtures.load("postprocess")
    chosen = json.loads(metadata["cases"])[case]
    names = name_probabilities(tensors["cosines"][0], chosen["logit_scale"])
    found = class_probabilities(names, tensors["class_of_name"])
    if chosen["area_thd"] is not None:
        found = without_small_classes(found, chosen["area_thd"])
    torch.testing.assert_close(found, tensors[f"expected.scores.{case}"], rtol=0, atol=1e-5)
    labels = labels_of(found, chosen["prob_thd"])
    assert torch.equal(labels.to(torch.uint8), tensors[f"expected.labels.{case}"])


def test_a_class_without_a_name_is_refused():
    with pytest.raises(RecosegError, match="class 1 has none"):
        class_probabilities(torch.rand(2, 3, 3), torch.tensor([0, 2]))


def test_background_stays_however_small_it_is():
    probabilities = torch.tensor([0.1, 0.9])[:, None, None].expand(2, 4, 4)
    assert torch.equal(without_small_classes(probabilities, 0.5), probabilities)


def test_a_photo_of_background_alone_stays():
    probabilities = torch.tensor([0.9, 0.1])[:, None, None].expand(2, 4, 4)
    expected = torch.tensor([0.9, 0.0])[:, None, None].expand(2, 4, 4)
    assert torch.equal(without_small_classes(probabilities, 0.1), expected)


def test_ambiguity_by_hand():
    # 0.9 sqrt(0.8) = 0.80, 0.9 sqrt(0.1) = 0.28, 0.5 sqrt(0.4) = 0.316, 0.5 sqrt(0.5) = 0.354
    best = torch.tensor([[0.9, 0.9, 0.5, 0.5]])
    second = torch.tensor([[0.1, 0.8, 0.1, 0.0]])
    third = torch.zeros(1, 4)
    got = is_ambiguous(torch.stack([third, second, best]))
    assert got.tolist() == [[False, True, True, False]]
    assert pytest.approx(0.318, abs=1e-3) == PUBLISHED_AMBIGUITY
    assert is_ambiguous(best[None]).tolist() == [[False, False, False, False]]
    assert is_ambiguous(0.4 * torch.ones(1, 1, 1)).item()


def test_presence():
    scores = cosines(3)
    best = torch.tensor([0.7, 0.5, 0.49])
    is_present = present_by_best(best)
    assert is_present.tolist() == [True, True, False]
    zeroed = zero_absent(scores, is_present)
    assert torch.equal(zeroed[:2], scores[:2])
    assert zeroed[2].eq(0).all()
    blended = blend_photo(scores, best, 0.25)
    assert blended[2, 1, 1] == pytest.approx(0.75 * float(scores[2, 1, 1]) + 0.25 * 0.49)
    with pytest.raises(RecosegError, match="expected 0 to 1"):
        blend_photo(scores, best, 1.5)
