"""Classes that a photo does not hold, and pixels that are unclear, against literal definitions."""

import numpy as np
import pytest
import torch

from recoseg.config import Fusion
from recoseg.errors import RecosegError
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.label_maps import BackgroundRule, label_map
from recoseg.segmentation.presence import (
    PresenceRule,
    best_scores,
    is_ambiguous,
    leave_out,
    won_areas,
)
from recoseg.segmentation.voting import Voting

from .fakes import ColourEncoder, make_bank
from .test_bank_segmenter import noise


def scores(classes=4, hw=(9, 11), seed=0):
    torch.manual_seed(seed)
    return torch.randn(classes, *hw)


def slow_kept(table, least_best, least_area, always=()):
    """Which classes stay, pixel by pixel."""
    classes, height, width = table.shape
    kept = []
    for c in range(classes):
        best = max(float(table[c, y, x]) for y in range(height) for x in range(width))
        kept.append(c in always or least_best is None or best >= least_best)
    if least_area is None:
        return kept
    areas = [0] * classes
    for y in range(height):
        for x in range(width):
            left = [c for c in range(classes) if kept[c]]
            if left:
                areas[max(left, key=lambda c: float(table[c, y, x]))] += 1
    foreground = sum(area for c, area in enumerate(areas) if c not in always)
    return [kept[c] and (c in always or areas[c] > least_area * foreground) for c in range(classes)]


@pytest.mark.parametrize("least_best", [None, -9.0, 2.2, 2.6, 9.0])
@pytest.mark.parametrize("least_area", [None, 0.0, 0.24, 0.3])
@pytest.mark.parametrize("always", [(), (2,)])
def test_classes_that_stay_equal_the_definition(least_best, least_area, always):
    table, rule = scores(), PresenceRule(least_best, least_area)
    strips = [table[:, :4], table[:, 4:5], table[:, 5:]]
    kept = rule.large(strips, always, rule.strong(strips, always))
    expected = slow_kept(table, least_best, least_area, always)
    assert (kept is None) == (least_best is None and least_area is None)
    assert ([True] * 4 if kept is None else kept.tolist()) == expected
    labels = label_map(table, ignored=255, kept=kept)
    for y in range(9):
        for x in range(11):
            left = [c for c in range(4) if expected[c]]
            wanted = max(left, key=lambda c: float(table[c, y, x])) if left else 255
            assert int(labels[y, x]) == wanted


def test_statistics_by_hand():
    table = torch.tensor([[[3.0, 0.0]], [[1.0, 2.0]], [[0.0, 1.0]]])
    assert best_scores([table[:, :, :1], table[:, :, 1:]]).tolist() == [3, 2, 1]
    assert won_areas([table]).tolist() == [1, 1, 0]
    kept = torch.tensor([True, False, True])
    assert won_areas([table], kept).tolist() == [1, 0, 1]
    assert won_areas([table], torch.zeros(3, dtype=torch.bool)).tolist() == [0, 0, 0]
    assert leave_out(table, kept)[1].tolist() == [[-torch.inf, -torch.inf]]
    assert leave_out(table, None) is table


def test_ambiguity_by_hand():
    # 0.9 sqrt(0.8) = 0.80, 0.9 sqrt(0.1) = 0.28, 0.5 sqrt(0.4) = 0.316, 0.5 sqrt(0.5) = 0.354
    best = torch.tensor([[0.9, 0.9, 0.5, 0.5, -0.2]])
    second = torch.tensor([[0.1, 0.8, 0.1, -0.3, -0.9]])
    third = torch.full((1, 5), -torch.inf)
    published = 0.4**1.25
    found = is_ambiguous(torch.stack([third, second, best]), published)
    assert found.tolist() == [[False, True, True, False, True]]
    assert is_ambiguous(best[None], published).tolist() == [[False] * 4 + [True]]
    rule = BackgroundRule(ambiguity=published)
    labels = label_map(torch.stack([third, second, best]), rule, 255)
    assert labels.tolist() == [[2, 255, 255, 2, 255]]


class Halves:
    """Two regions: the upper and the lower half."""

    key, needs_features, is_cacheable = "halves", False, False

    def regions(self, photo, pixels, features=()):
        regions = torch.ones(pixels.shape[1:], dtype=torch.int32)
        regions[pixels.shape[1] // 2 :] = 2
        return regions


def segmenter(**options):
    options = {"fusion": Fusion("sum"), "keep_scores": True, **options}
    return bank_segmenter(make_bank(), phi=ColourEncoder(4), saliency=ColourEncoder(6), **options)


@pytest.mark.parametrize("refine", [None, "pamr", "lposs"])
@pytest.mark.parametrize("voting", [None, Voting(Halves())])
def test_an_absent_class_leaves_its_pixels_to_the_others(refine, voting):
    pixels = noise(1, 36, 48)
    options = {"refine": refine, "voting": voting}
    plain = segmenter(**options)(pixels)
    best = plain.scores.astype(np.float32).max((1, 2))
    weakest, middle, _ = np.sort(best)
    least = float(weakest + middle) / 2
    found = segmenter(presence=PresenceRule(least), **options)(pixels)
    gone = int(best.argmin())
    assert (found.labels != gone).all()
    np.testing.assert_array_equal(found.scores, plain.scores)
    same = plain.labels != gone
    np.testing.assert_array_equal(found.labels[same], plain.labels[same])
    nothing = segmenter(presence=PresenceRule(float(best.max()) + 1), **options)(pixels)
    assert (nothing.labels == 255).all()
    everything = segmenter(presence=PresenceRule(-9.0), **options)(pixels)
    np.testing.assert_array_equal(everything.labels, plain.labels)


def test_with_regions_the_best_mean_counts():
    pixels = noise(2, 36, 48)
    pixel, mean = segmenter()(pixels).scores.max((1, 2)), None
    mean = segmenter(voting=Voting(Halves()))(pixels).scores.max((1, 2))
    least = float(np.float32(pixel).min() + np.float32(mean).max()) / 2
    assert np.float32(mean).max() < least < np.float32(pixel).min()
    rule = PresenceRule(least)
    assert (segmenter(presence=rule)(pixels).labels < 255).all()
    assert (segmenter(presence=rule, voting=Voting(Halves()))(pixels).labels == 255).all()


@pytest.mark.parametrize("refine", [None, "pamr"])
def test_background_classes_are_never_absent(refine):
    pixels = noise(3, 36, 48)
    plain = segmenter(background=["blue"], refine=refine)(pixels)
    rule = PresenceRule(9.0)
    found = segmenter(background=["blue"], presence=rule, refine=refine)(pixels)
    assert (found.labels == 255).all()
    area = segmenter(background=["blue"], presence=PresenceRule(least_area=0.99), refine=refine)
    assert (area(pixels).labels == 255).all()
    assert (plain.labels != 255).any()


@pytest.mark.parametrize("refine", [None, "pamr"])
def test_small_classes_are_left_out(refine):
    pixels = noise(4, 36, 48)
    plain = segmenter(refine=refine, background_threshold=-9.0)(pixels)
    areas = np.bincount(plain.labels.ravel(), minlength=3)
    share = float(areas.min() + np.sort(areas)[1]) / 2 / areas.sum()
    rule = PresenceRule(least_area=share)
    found = segmenter(presence=rule, refine=refine, background_threshold=-9.0)(pixels)
    small = int(areas.argmin())
    assert (found.labels != small).all()
    same = plain.labels != small
    np.testing.assert_array_equal(found.labels[same], plain.labels[same])
    assert segmenter(presence=rule).settings["area_threshold"] == share


@pytest.mark.parametrize("refine", [None, "pamr"])
def test_unclear_pixels_become_background(refine):
    pixels = noise(5, 36, 48)
    plain = segmenter(refine=refine)(pixels)
    ordered = np.sort(plain.scores.astype(np.float32), axis=0)
    best, second = ordered[-1].clip(0), ordered[-2].clip(0)
    value = best * np.sqrt(best - second)
    least = float(np.median(value))
    found = segmenter(ambiguity=least, refine=refine)(pixels)
    assert ((found.labels == 255) == (value < least)).mean() > 0.98  # scores are kept in fp16
    kept = found.labels != 255
    np.testing.assert_array_equal(found.labels[kept], plain.labels[kept])


def test_numbers_are_checked():
    for wrong in ("nan", "inf"):
        with pytest.raises(RecosegError, match=f"presence is {wrong}; expected a fused score"):
            PresenceRule(float(wrong))
    with pytest.raises(RecosegError, match="area_threshold is 1"):
        PresenceRule(least_area=1.0)
    for wrong in (-1.0, float("inf"), float("nan")):
        with pytest.raises(RecosegError, match=f"ambiguity is {wrong}; expected 0 or more"):
            segmenter(ambiguity=wrong)


def test_a_limit_that_no_score_reaches_is_told(caplog):
    segmenter(presence=PresenceRule(0.5))
    assert not caplog.records
    segmenter(presence=PresenceRule(9.0))
    [record] = caplog.records
    assert "presence is 9.0; no score of the fusion" in record.getMessage()
