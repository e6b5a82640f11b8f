"""Photos that are refined in strips get the labels that they get as a whole."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.allocator import LIMIT
from recoseg.config import Fusion
from recoseg.errors import BadImageError
from recoseg.refinement import pamr, pamr_strips
from recoseg.refinement.refiner import PamrSettings, RefineSettings, build_refiner
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.cost import Cost, MemoryGuard
from recoseg.segmentation.presence import PresenceRule
from recoseg.segmentation.voting import Voting

from .fakes import ColourEncoder, make_bank
from .test_bank_segmenter import noise
from .test_cost import peak, picture

SETTINGS = RefineSettings("pamr", 0.05, PamrSettings(3, (1, 2)))
SMALL = 1_600_000  # bytes: a strip of the photos below, but not the whole of one


class Stripes:
    """Three columns of regions; the first rows belong to none."""

    key, needs_features, is_cacheable = "stripes", False, False

    def regions(self, photo, pixels, features=()):
        height, width = pixels.shape[1:]
        labels = (torch.arange(width) * 3 // width + 1).int().repeat(height, 1)
        labels[: height // 5] = 0
        return labels


def segmenter(**options):
    form = options.pop("form", "product")
    bank = make_bank(fusion=Fusion(form))
    options = {"refine": SETTINGS, "resize": 40, **options}
    return bank_segmenter(bank, phi=ColourEncoder(4), saliency=ColourEncoder(6), **options)


OPTIONS = [
    {},
    {"background_threshold": 0.45},
    {"background": ["context"], "keep_scores": True},
    {"ambiguity": 0.01},
    {"ambiguity": 0.01, "background_threshold": 0.4, "keep_scores": True},
    {"presence": PresenceRule(0.5, None), "ambiguity": 0.01},
    {"presence": PresenceRule(None, 0.3), "background_threshold": 0.4},
    {"presence": PresenceRule(0.45, 0.2), "background": ["sky"]},
    {"form": "text", "naming": "softmax", "names_temperature": 5.0},
    {"form": "sum", "naming": "softmax", "background_threshold": 0.4, "keep_scores": True},
    {"voting": Voting(Stripes()), "keep_scores": True},
    {"voting": Voting(Stripes(), "mode"), "background_threshold": 0.45},
    {"window": 24, "resize": 0},
]


def whole_and_split(options, photos, most, monkeypatch):
    monkeypatch.setattr(pamr, "_AFFINITY_PIXELS", 1)
    whole = list(segmenter(**options).stream(photos))
    monkeypatch.setattr(pamr_strips, "MAX_REFINED", most)
    made = segmenter(**options)
    refiner = made.labeller.refiner
    parts, real = [], type(refiner).parts

    def counted(self, *given):
        for part in real(self, *given):
            parts.append(part)
            yield part

    monkeypatch.setattr(type(refiner), "parts", counted)
    found = list(made.stream(photos))
    assert len(parts) > 2 * len(photos)
    return whole, found, parts


@pytest.mark.parametrize("options", OPTIONS)
def test_labels_and_scores_are_those_of_the_whole_photo(options, monkeypatch):
    photos = [noise(seed, 240, 48) for seed in range(2)]
    whole, found, parts = whole_and_split(options, photos, SMALL, monkeypatch)
    assert {(part.columns.start, part.columns.stop) for part in parts} == {(0, 48)}
    for before, after in zip(whole, found, strict=True):
        np.testing.assert_array_equal(after.labels, before.labels)
        assert after.confidence() == pytest.approx(before.confidence(), abs=1e-3)
        assert (after.scores is None) == ("keep_scores" not in options)
        if before.scores is not None:
            np.testing.assert_array_equal(after.scores, before.scores)
        assert len(np.unique(before.labels)) > 1


@pytest.mark.parametrize("options", OPTIONS[::2])
def test_lanes_give_the_same_labels_up_to_rounding(options, monkeypatch):
    [photo] = photos = [noise(3, 120, 100)]
    whole, found, parts = whole_and_split(options, photos, 1_000_000, monkeypatch)
    assert len({part.columns.start for part in parts}) > 1
    assert (found[0].labels == whole[0].labels).mean() > 0.999
    assert found[0].labels.shape == photo.shape[:2]
    before = whole[0].segmentation.probabilities.values
    np.testing.assert_allclose(found[0].segmentation.probabilities.values, before, atol=2e-3)
    if whole[0].scores is not None:
        np.testing.assert_allclose(found[0].scores, whole[0].scores, atol=1e-3)


def test_small_photos_are_still_refined_as_a_whole(monkeypatch):
    made = segmenter()
    monkeypatch.setattr(type(made.labeller.refiner), "parts", None)
    assert made(Image.new("RGB", (60, 40), (200, 30, 30))).labels.shape == (40, 60)


@pytest.mark.parametrize("form", ["crf", "lposs+"])
def test_other_refinements_take_the_photo_whole(form, monkeypatch):
    if form == "crf":
        pytest.importorskip("pydensecrf.densecrf")
    photo = noise(4, 50, 30)
    options = {"refine": replace(SETTINGS, form=form), "resize": 0}
    expected = segmenter(**options)(photo).labels
    monkeypatch.setattr(pamr_strips, "MAX_REFINED", 1)
    made = segmenter(**options)
    assert not made.labeller.refiner.splits(5, 8000, 6000)
    np.testing.assert_array_equal(made(photo).labels, expected)
    [part] = made.labeller.refiner.parts(
        lambda rows, columns: (
            torch.from_numpy(photo).permute(2, 0, 1)[:, rows, columns],
            torch.randn(3, 50, 30)[:, rows, columns],
        ),
        *(3, 50, 30),
    )
    assert part.scores.shape == (3, 50, 30)


@pytest.mark.parametrize(
    ("size", "most", "lanes"),
    [((600, 700), 90_000_000, 1), ((300, 1000), 60_000_000, 1), ((760, 600), 40_000_000, 3)],
)
@pytest.mark.parametrize("options", [{}, {"background_threshold": 0.4, "ambiguity": 0.1}])
def test_the_estimate_of_strips_is_not_below_what_is_allocated(
    size, most, lanes, options, monkeypatch
):
    monkeypatch.setattr(pamr_strips, "MAX_REFINED", most)
    refine = RefineSettings("pamr", 1.0, PamrSettings(5))
    made, photo = segmenter(refine=refine, **options), picture(*size)
    assert len(made.labeller.refiner._plan(4, size[1], size[0]).lanes) == lanes
    allocated = peak(lambda: made(photo))
    estimate = made.cost.bytes_of(size, (40 * size[0] // min(size), 40 * size[1] // min(size)))
    others = 30 * size[0] * size[1]  # decoding, the photo and its labels are no tensors
    assert allocated <= estimate <= 2 * allocated + others, (allocated, estimate)


def test_large_photos_are_not_refused_for_their_refinement(monkeypatch):
    lite = Cost(((16, 1280), (16, 1664)), 22, refiner=build_refiner(RefineSettings("pamr")))
    for size, given in (((8000, 6000), (426, 320)), ((16_000, 1_200), (4_266, 320))):
        plain = replace(lite, refiner=None).bytes_of(size, given)
        assert lite.bytes_of(size, given) < plain + 1.6e9 < 4e9


def test_the_reason_names_a_refinement_that_fits(monkeypatch):
    monkeypatch.setenv(LIMIT, "3")
    whole = build_refiner(RefineSettings("lposs+"))
    lite = Cost(((16, 1280), (16, 1664)), 22, refiner=whole)
    photo = (8000, 6000), (426, 320)
    with pytest.raises(BadImageError, match=r"more than the limit of 3.0 GB; .* --refine pamr"):
        MemoryGuard([lite]).check(*photo)
    MemoryGuard([replace(lite, refiner=build_refiner(RefineSettings("pamr")))]).check(*photo)
    with pytest.raises(BadImageError, match=r"refinement .*: leave out --refine, or set"):
        MemoryGuard([replace(lite, classes=1500)]).check(*photo)
    with pytest.raises(BadImageError, match="use a smaller --resize, or --window, or set"):
        MemoryGuard([lite]).check(photo[0], photo[0])
