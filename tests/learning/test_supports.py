"""Supports: their regions, their views, and the choice of the typical ones."""

import math

import pytest
import torch
import torch.nn.functional as F

from recoseg.classes import parse_class
from recoseg.errors import BadImageError, ConceptError
from recoseg.learning.class_prompt import learn_prompt
from recoseg.learning.support_regions import FINER, distinct_region, distinction, split
from recoseg.learning.supports import (
    Support,
    nearest_to_mean,
    padded_box,
    region_at,
    typical,
    views,
)
from tests.decoders.stub import Stub
from tests.learning.fakes import COLOURS, Retrieval


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_the_split_has_the_largest_variance_between_groups():
    values = torch.cat([random(40), random(25, seed=1) * 0.5 + 4])
    found = split(values)

    def between(level):
        low = [v for v in values.tolist() if v < level]
        high = [v for v in values.tolist() if v >= level]
        gap = sum(high) / len(high) - sum(low) / len(low)
        return len(low) * len(high) * gap**2

    lowest, highest = values.min().item(), values.max().item()
    levels = [lowest + (highest - lowest) * n / 64 for n in range(1, 64)]
    assert between(found) == pytest.approx(max(map(between, levels)))
    assert ((values >= found) == (torch.arange(65) >= 40)).float().mean() > 0.95


def test_distinction_by_hand():
    features, rows = random(2, 5, 3, 4), F.normalize(random(4, 5, seed=1), dim=1)
    found = distinction(features, rows[0], [rows[1:2], rows[2:]])
    alone = distinction(features, rows[0], [])
    for k in range(2):
        for y in range(3):
            for x in range(4):
                cosines = [float(F.cosine_similarity(features[k, :, y, x], row, 0)) for row in rows]
                away = [1 - 1 / (1 + math.exp(-c)) for c in (cosines[1], max(cosines[2:]))]
                expected = cosines[0] * away[0] * away[1]
                assert found[k, y, x].item() == pytest.approx(expected, abs=1e-5)
                assert alone[k, y, x].item() == pytest.approx(cosines[0], abs=1e-5)


def test_a_region_is_the_higher_group_and_holds_the_best_seed():
    distinct = torch.zeros(5, 7)
    distinct[1:4, 2:5] = 0.8
    region = distinct_region(distinct, [(2, 3)])
    assert region.shape == (5 * FINER, 7 * FINER)
    cells = region.view(5, FINER, 7, FINER).float().mean((1, 3))
    assert (cells[1:4, 2:5] > 0.7).all()
    assert cells.sum() - cells[1:4, 2:5].sum() < 5
    distinct[0, 0] = 0.2
    assert distinct_region(distinct, [(0, 0)])[FINER // 2, FINER // 2]
    assert distinct_region(torch.ones(2, 3), [(0, 0)]).all()


def test_no_region_vanishes_on_a_coarser_grid():
    region = torch.zeros(40, 60, dtype=torch.bool)
    region[3, 5] = True
    assert region_at(region, (4, 6)).nonzero().tolist() == [[0, 0]]
    region[:, :30] = True
    assert region_at(region, (4, 6)).sum(1).tolist() == [3] * 4
    assert region_at(region, (40, 60)) is region


def test_views_show_the_padded_box_with_and_without_what_is_around():
    pixels = torch.arange(3 * 30 * 40).view(3, 30, 40).remainder(251).to(torch.uint8)
    region = torch.zeros(30, 40, dtype=torch.bool)
    region[10:20, 35:40] = True
    assert padded_box(region) == (slice(8, 22), slice(34, 40))
    context, masked = views(pixels, region)
    assert torch.equal(context, pixels[:, 8:22, 34:40])
    for y in range(14):
        for x in range(6):
            own = pixels[:, 8 + y, 34 + x] if region[8 + y, 34 + x] else torch.full((3,), 127)
            assert masked[:, y, x].tolist() == own.tolist()


def test_the_nearest_to_the_mean():
    rows = F.normalize(random(9, 4), dim=1)
    mean = rows.mean(0)
    order = sorted(range(9), key=lambda n: -float(F.cosine_similarity(rows[n], mean, 0)))
    assert nearest_to_mean(rows, 5) == order[:5]


def test_odd_supports_are_left_out():
    def support(name, colour):
        pixels = torch.full((3, 48, 48), 100, dtype=torch.uint8)
        pixels[:, 8:40, 8:40] = torch.tensor(COLOURS[colour], dtype=torch.uint8)[:, None, None]
        region = torch.zeros(6, 6, dtype=torch.bool)
        region[1:5, 1:5] = True
        return Support(name, name, lambda side: pixels, region)

    supports = [support("odd", "sea"), *(support(f"{n}", "rose") for n in range(3))]
    assert [one.path for one in typical(supports, Retrieval(), 3)] == ["0", "1", "2"]
    assert typical(supports, Retrieval(), 4) == supports


def halves(covered):
    """A support whose left 6 of 10 columns are of one colour, and whose region is `covered`."""
    pixels = torch.full((3, 10, 10), 128, dtype=torch.uint8)
    pixels[:, :, :6] = torch.tensor(COLOURS["rose"], dtype=torch.uint8)[:, None, None]
    region = torch.zeros(10, 10, dtype=torch.bool)
    region[:, covered] = True
    return Support("a.jpg", "a", lambda side: pixels, region)


def test_a_decoder_that_says_nothing_of_the_regions_is_not_learnt(caplog):
    words, stub = parse_class("rose"), Stub(COLOURS, 10)
    found = learn_prompt(stub, words, [halves(slice(0, 6))]).record
    assert (found.words[0].dice, found.dice, found.threshold) == (1, 1, 0.5)
    with pytest.raises(ConceptError, match="no better than whole photos would"):
        learn_prompt(stub, words, [halves(slice(4, 10))])  # 0.33, and 0.75 for all pixels
    with pytest.raises(ConceptError, match=r"finds none of its words.*'rose', has a Dice of 0.00"):
        learn_prompt(stub, words, [halves(slice(6, 10))])

    def unreadable(side):
        raise BadImageError("damaged")

    broken = Support("b.jpg", "b", unreadable, torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(ConceptError, match="none of its photos with regions can be read"):
        learn_prompt(stub, words, [broken])
    assert "Left out: b.jpg: damaged" in caplog.text
    both = learn_prompt(stub, words, [broken, halves(slice(0, 6))])
    assert both.record.supports == ("a.jpg",)
