"""Large photos are refined strip by strip; the results are those of the whole photo."""

import pytest
import torch

from recoseg.refinement import pamr as whole
from recoseg.refinement import pamr_strips as module
from recoseg.refinement.pamr import pamr
from recoseg.refinement.pamr_strips import MAX_REFINED, plan_strips
from recoseg.refinement.refiner import PamrSettings, RefineSettings, build_refiner

from .scenes import scene


def in_parts(refiner, image, scores, read=None):
    """The refined photo, put together from its parts, and the parts."""
    found = torch.full_like(scores, torch.nan)
    parts = []
    for part in refiner.parts(
        read or (lambda rows, columns: (image[:, rows, columns], scores[:, rows, columns])),
        *scores.shape,
    ):
        assert torch.isnan(found[:, part.rows, part.columns]).all(), "no pixel is refined twice"
        found[:, part.rows, part.columns] = part.scores
        parts.append(part)
    return found, parts


def refiner_of(iterations, dilations):
    return build_refiner(RefineSettings("pamr", 0.2, pamr=PamrSettings(iterations, dilations)))


@pytest.mark.parametrize(
    ("hw", "iterations", "dilations"),
    [
        ((150, 61), 3, (1, 2)),
        ((97, 67), 2, (3, 9)),
        ((83, 40), 4, (1,)),
        ((65, 50), 1, (40,)),
        ((111, 31), 0, (1, 4)),
        ((256, 16), 5, (1, 2, 4)),
        ((37, 201), 1, (2,)),
    ],
)
@pytest.mark.parametrize("portion", [1, 200, 4096])
def test_strips_give_the_same_bits_as_the_whole_photo(
    hw, iterations, dilations, portion, monkeypatch
):
    monkeypatch.setattr(whole, "_AFFINITY_PIXELS", portion)
    image, probs, _ = scene(*hw, 3)
    scores, refiner = probs.log(), refiner_of(iterations, dilations)
    expected = refiner(image[None], scores[None])[0]
    plan = plan_strips(3, *hw, iterations, dilations)
    assert plan.lanes == ()
    assert not refiner.splits(3, *hw)
    rows = -(-max(32, *dilations) // 16) * 16
    lane = module.Lane(slice(0, hw[1]), slice(0, hw[1]))
    split = module.StripPlan((lane,), rows, 0)
    monkeypatch.setattr(type(refiner), "_plan", lambda *_: split)
    found, parts = in_parts(refiner, image, scores)
    assert torch.equal(found, expected)
    assert len(parts) > 1


@pytest.mark.parametrize(("hw", "dilations"), [((70, 90), (1, 3)), ((40, 131), (2,))])
def test_lanes_give_the_whole_photo_up_to_rounding(hw, dilations, monkeypatch):
    image, probs, _ = scene(*hw, 4, seed=2)
    scores, refiner = probs.log(), refiner_of(3, dilations)
    expected = refiner(image[None], scores[None])[0]
    monkeypatch.setattr(whole, "_AFFINITY_PIXELS", 1)
    monkeypatch.setattr(module, "MAX_REFINED", 100_000)
    assert refiner.splits(4, *hw)
    found, parts = in_parts(refiner, image, scores)
    assert torch.allclose(found, expected, atol=1e-6)
    assert len({part.columns.start for part in parts}) > 1


def test_each_strip_is_read_once(monkeypatch):
    image, probs, _ = scene(200, 30, 2)
    monkeypatch.setattr(whole, "_AFFINITY_PIXELS", 1)
    monkeypatch.setattr(module, "MAX_REFINED", 500_000)
    refiner, seen = refiner_of(2, (1, 2)), []

    def read(rows, columns):
        seen.append((rows.start, rows.stop, columns.start, columns.stop))
        return image[:, rows, columns], probs[:, rows, columns]

    found, _ = in_parts(refiner, image, probs, read)
    assert not torch.isnan(found).any()
    strips = [(start, start + 32) for start in range(0, 160, 32)] + [(160, 200)]
    assert seen == [(*rows, 0, 30) for rows in strips]


@pytest.mark.parametrize("height", [1, 15, 32, 47, 48, 64, 79, 100])
def test_strips_are_all_rows_in_order(height):
    plan = module.StripPlan((), 32, 0)
    rows = [row for strip in plan.strips(height) for row in range(strip.start, strip.stop)]
    assert rows == list(range(height))
    sizes = [strip.stop - strip.start for strip in plan.strips(height)]
    assert max(sizes) < 32 + 16
    assert height < 16 or min(sizes) >= 16


@pytest.mark.parametrize("width", [1, 7, 40])
@pytest.mark.parametrize("reach", [0, 3, 50])
def test_lanes_are_all_columns_and_what_they_depend_on(width, reach):
    lanes = list(module._lanes(width, 9, reach))
    assert [x for lane in lanes for x in range(width)[lane.columns]] == list(range(width))
    for lane in lanes:
        around = range(width)[lane.around]
        assert list(around[lane.inside]) == list(range(width)[lane.columns])
        assert around.start == max(0, lane.columns.start - reach)
        assert around.stop == min(width, lane.columns.stop + reach)


@pytest.mark.parametrize(
    ("classes", "hw"),
    [(22, (6000, 8000)), (28, (1200, 16_000)), (3, (13_000, 13_000)), (100, (1000, 178_000))],
)
def test_the_memory_of_large_photos_is_bounded(classes, hw):
    plan = plan_strips(classes, *hw, 10, (1, 2, 4, 8, 12, 24))
    assert plan.lanes
    assert plan.needed <= 1.001 * MAX_REFINED


def test_more_classes_and_larger_settings_need_more():
    published = 10, (1, 2, 4, 8, 12, 24)
    assert plan_strips(171, 6000, 8000, *published).needed < 3e9
    assert plan_strips(28, 375, 500, *published).lanes == ()
    endless = plan_strips(28, 3000, 4000, 10_000, (1024,))
    assert endless.lanes == (), "strips would need more than the whole photo"
    assert endless.needed > 5e9


def test_settings_of_a_strip_stay_exact_where_whole_photos_are_chunked(monkeypatch):
    """`pamr` computes some classes at a time, strips all of them."""
    image, probs, _ = scene(90, 33, 5)
    monkeypatch.setattr(whole, "_CHUNK_ELEMENTS", 1)
    expected = pamr(probs[None], image[None], 3, (1, 2))[0]
    pieces = [(image[:, start : start + 32], probs[:, start : start + 32]) for start in (0, 32, 64)]
    found = torch.cat(list(module.pamr_strips(pieces, 90, 32, 3, (1, 2))), 1)
    assert torch.equal(found, expected)
