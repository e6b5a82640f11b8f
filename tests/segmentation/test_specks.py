"""Small parts of a label map take the label of what surrounds them."""

import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import recoseg
from recoseg.errors import OutputError, RecosegError
from recoseg.segmentation import specks
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.specks import REFINED_SHARE, SpeckRule, speck_rule
from recoseg.segmentation.voting import Voting

from .fakes import ColourEncoder, make_bank
from .test_bank_segmenter import noise
from .test_presence import Halves


def parts(labels):
    """Each part as its label and its pixels, by flooding from every pixel."""
    seen, found = set(), []
    height, width = labels.shape
    for start in np.ndindex(height, width):
        if start in seen:
            continue
        queue, members = [start], {start}
        while queue:
            y, x = queue.pop()
            for near in ((y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)):
                inside = 0 <= near[0] < height and 0 <= near[1] < width
                if inside and near not in members and labels[near] == labels[start]:
                    members.add(near)
                    queue.append(near)
        seen |= members
        found.append((int(labels[start]), members))
    return found


def nearest(labels, small):
    """For each small pixel the labels of the nearest pixels that are not; others keep theirs."""
    kept = [place for place in np.ndindex(labels.shape) if place not in small]
    found = {}
    for place in small:
        distances = {other: math.dist(place, other) for other in kept}
        least = min(distances.values())
        found[place] = {labels[other] for other, far in distances.items() if far == least}
    return found


def random_labels(seed, height=9, width=11, classes=3):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, (height // 3 + 1, width // 3 + 1)).repeat(3, 0).repeat(3, 1)
    labels = labels[:height, :width].astype(np.uint8)
    noise = rng.random((height, width)) < 0.15
    labels[noise] = rng.choice([*range(classes), 255], noise.sum())
    return labels


def small_pixels(labels, least):
    return set().union(*(own for _, own in parts(labels) if len(own) < least))


def largest(labels):
    return max(parts(labels), key=lambda part: len(part[1]))[0]  # of equal ones the first


@pytest.mark.filterwarnings("ignore:With the least area")
@given(seed=st.integers(0, 10**6), least=st.integers(1, 40))
@settings(max_examples=80, deadline=None)
def test_no_small_part_is_left_and_large_parts_keep_their_pixels(seed, least):
    labels = random_labels(seed)
    found = SpeckRule(least).clean(labels.copy())
    small = small_pixels(labels, least)
    if len(small) == labels.size:
        assert (found == largest(labels)).all()
        return
    assert all(
        found[place] == labels[place] for place in np.ndindex(labels.shape) if place not in small
    )
    assert not small_pixels(found, least)
    assert found.dtype == labels.dtype


@pytest.mark.parametrize("seed", range(30))
def test_each_pixel_of_a_small_part_takes_the_nearest_label(seed):
    labels = random_labels(seed)
    small = small_pixels(labels, 4)
    found = SpeckRule(4).clean(labels.copy())
    assert small
    for place, options in nearest(labels, small).items():
        assert found[place] in options


@pytest.mark.filterwarnings("ignore:With the least area")
@given(seed=st.integers(0, 10**6), least=st.integers(1, 25))
@settings(max_examples=60, deadline=None)
def test_pixels_without_data_divide_parts_and_give_no_labels(seed, least):
    labels = random_labels(seed)
    rng = np.random.default_rng(seed)
    given = rng.random(labels.shape) > rng.choice([0, 0.1, 0.6, 1])
    valid = given.copy()
    for is_data, island in parts(given):
        if is_data and len(island) < least:
            valid[tuple(zip(*island, strict=True))] = False  # left as it is
    shown = np.where(valid, labels.astype(int), -1)
    own = [(label, members) for label, members in parts(shown) if label >= 0]
    small = set().union(*(members for _, members in own if len(members) < least))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(specks, "_PASSES", 1)  # later passes look at other parts
        found = SpeckRule(least).clean(labels.copy(), given)
    assert (found[~valid] == labels[~valid]).all()
    if len(small) == valid.sum():
        most = max(own, key=lambda part: len(part[1]))[0] if own else 0
        assert (found[valid] == (most if small else labels[valid])).all()
        return
    kept = [place for place in np.ndindex(labels.shape) if valid[place] and place not in small]
    assert all(found[place] == labels[place] for place in kept)
    assert set(found[valid].tolist()) <= {int(labels[place]) for place in kept}
    for place in small:
        distances = {other: math.dist(place, other) for other in kept}
        least_far = min(distances.values())
        options = {labels[other] for other, far in distances.items() if far == least_far}
        assert found[place] in options


def test_holes_are_filled_and_specks_of_background_and_of_classes_vanish():
    labels = np.zeros((12, 12), np.uint8)
    labels[:, 6:] = 255
    labels[2:4, 2:4] = 255  # a hole
    labels[3:5, 8:10] = 1  # a speck in background
    labels[8:11, 1:4] = 2
    labels[9, 2] = 3  # a speck in a part that is large enough
    found = SpeckRule(5).clean(labels.copy())
    expected = np.zeros((12, 12), np.uint8)
    expected[:, 6:] = 255
    expected[8:11, 1:4] = 2
    assert np.array_equal(found, expected)


def test_pixels_that_touch_by_a_corner_are_two_parts():
    labels = np.zeros((4, 4), np.uint8)
    labels[1, 1] = labels[2, 2] = 1
    assert not SpeckRule(2).clean(labels.copy()).any()


def test_wide_label_maps():
    labels = np.full((6, 7), 65535, np.uint16)
    labels[2, 3], labels[4:, :] = 3, 300
    found = SpeckRule(2).clean(labels)
    assert found.dtype == np.uint16
    assert np.unique(found).tolist() == [300, 65535]


def test_an_area_below_1_is_a_share_of_the_photo():
    labels = np.zeros((20, 30), np.uint8)
    labels[:2, :3] = 1  # 6 of 600 pixels
    assert SpeckRule(0.01).clean(labels.copy()).any()
    assert not SpeckRule(0.011).clean(labels.copy()).any()
    assert SpeckRule(0.01).pixels(20, 30) == 6
    assert SpeckRule(5).pixels(20, 30) == 5


def test_if_all_parts_are_too_small_the_largest_takes_the_photo_and_a_warning_says_so():
    labels = np.array([[0, 0, 1, 1], [2, 2, 2, 1]], np.uint8)
    with pytest.warns(UserWarning, match=r"least area 9 \(--min-area\).*largest part takes"):
        assert (SpeckRule(9).clean(labels) == largest(labels)).all()
    with pytest.warns(UserWarning, match=r"least area 0.9 "):
        assert (SpeckRule(0.9).clean(labels) == 1).all(), "of equal parts the first"
    with warnings.catch_warnings(action="error"):
        found = SpeckRule(3).clean(labels)
    assert (found[labels > 0] == labels[labels > 0]).all()


def test_a_run_warns_once(tmp_path):
    for number in range(3):
        Image.fromarray(noise(number, 36, 48)).save(tmp_path / f"{number}.png")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        recoseg.segment(segmenter(specks=SpeckRule(5000)), tmp_path, tmp_path / "out")
    assert ["largest part takes" in str(one.message) for one in told] == [True]
    label = np.asarray(Image.open(tmp_path / "out" / "labels" / "0.png"))
    assert (label == label[0, 0]).all()


def test_an_idle_rule_gives_the_very_map():
    labels = random_labels(1)
    assert SpeckRule().clean(labels) is labels
    assert SpeckRule().to_json() == {}
    assert SpeckRule(20).to_json() == {"min_area": 20}


@pytest.mark.parametrize("area", [-1, math.nan, math.inf])
def test_areas_out_of_range_are_refused(area):
    with pytest.raises(RecosegError, match="min_area is"):
        SpeckRule(area)


def segmenter(**options):
    return bank_segmenter(make_bank(), phi=ColourEncoder(4), saliency=ColourEncoder(6), **options)


@pytest.mark.parametrize("refine", [None, "pamr"])
@pytest.mark.parametrize("voting", [None, Voting(Halves(), "mode")])
def test_label_maps_are_cleaned_last(refine, voting):
    pixels = noise(1, 36, 48)
    rule = SpeckRule(65)
    plain = segmenter(refine=refine, voting=voting)
    cleaning = segmenter(refine=refine, voting=voting, specks=rule)
    one, other = plain(pixels), cleaning(pixels)
    np.testing.assert_array_equal(other.labels, rule.clean(one.labels))
    assert cleaning.settings == {**plain.settings, "min_area": 65}
    sizes = (4000, 3000), (427, 320)
    assert cleaning.cost.bytes_of(*sizes) > plain.cost.bytes_of(*sizes)
    if voting is None:
        assert (one.labels != other.labels).any()


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ((None, "none"), 0),
        ((None, "lposs", "regions"), 0),
        ((None, "pamr", "regions"), REFINED_SHARE),
        ((None, "crf"), REFINED_SHARE),
        ((None, "lposs+", "regions"), REFINED_SHARE),
        ((None, "pamr", "paper"), 0),
        ((0, "pamr", "regions"), 0),
        ((7, "none", "paper"), 7),
    ],
    ids=str,
)
def test_the_default_suits_the_refinement_and_the_published_recipe_has_none(asked, expected):
    assert speck_rule(*asked) == SpeckRule(expected)


def test_a_run_is_resumed_only_with_the_same_area(tmp_path):
    Image.fromarray(noise(1, 36, 48)).save(tmp_path / "a.png")
    out = tmp_path / "out"
    recoseg.segment(segmenter(specks=SpeckRule(65)), tmp_path / "a.png", out, overlays=False)
    assert json.loads((out / "settings.json").read_text())["min_area"] == 65
    with pytest.raises(OutputError, match=r"other settings \(min_area\)"):
        recoseg.segment(segmenter(), tmp_path / "a.png", out, overlays=False, resume=True)
