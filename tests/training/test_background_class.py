"""Background as a class of pseudo-labels, against what the segmenter itself calls background."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.classes import ClassNames
from recoseg.errors import OutputError, RecosegError
from recoseg.photos.sources import list_sources
from recoseg.refinement.refiner import RefineSettings
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.segmenter import in_parallel
from recoseg.training.confidence import Ignoring
from recoseg.training.pseudo_labels import PseudoLabels, pseudo_label
from recoseg.training.training_set import open_masks
from recoseg.training.verify import verify_pseudo_labels
from tests.evaluation.scenes import PHI, TEXT, scene, segmenter
from tests.segmentation.fakes import ColourEncoder, make_bank

NAMES = ("red", "green", "blue", "background")
WAYS = [
    {"background_threshold": 0.3},
    {"background": ["context"]},
    {"background": ["context", "green"], "background_threshold": 0.3},
    {"background": ["context"], "background_threshold": 0.3, "refine": RefineSettings("pamr", 0.1)},
]


@pytest.fixture
def photos(tmp_path):
    (tmp_path / "photos").mkdir()
    for seed, size in enumerate([(31, 47), (40, 24), (31, 47)]):
        scene(seed, *size)[0].save(tmp_path / "photos" / f"{seed}.png")
    [source] = list_sources([tmp_path / "photos"])
    return list(source.photos)


def masks(folder, kind="labels"):
    return [np.asarray(Image.open(path)) for path in sorted((folder / kind).iterdir())]


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_masks_hold_background_where_the_segmenter_does(tmp_path, photos, way):
    found = pseudo_label(segmenter(**way), photos, tmp_path / "out")
    labels = [item.labels for item in segmenter(**way)(photos)]
    expected = [np.where(one == 255, 3, one) for one in labels]
    for kind in ("labels", "teacher/labels"):
        for mask, wanted in zip(masks(tmp_path / "out", kind), expected, strict=True):
            np.testing.assert_array_equal(mask, wanted)
    share = np.concatenate([one.ravel() == 3 for one in expected]).mean()
    assert 0 < share < 1
    assert (found.names, found.background_label, found.background) == (NAMES, 3, 0)
    assert found.balance[3].pixels == sum((one == 3).sum() for one in expected)
    assert found.palette == (*segmenter().palette, (0, 0, 0))
    assert PseudoLabels.read(tmp_path / "out") == found
    assert (tmp_path / "out/classes.txt").read_text() == "red\ngreen\nblue\nbackground\n"
    assert "(undecided)" in (tmp_path / "out/balance.txt").read_text()
    assert verify_pseudo_labels(tmp_path / "out").problems == ()
    data = open_masks(tmp_path / "out")
    assert (data.names, data.background) == (NAMES, 3)
    assert data.fingerprint != replace(data, background=None).fingerprint


@pytest.mark.parametrize("way", WAYS[:3], ids=str)
def test_background_competes_in_the_confidence(tmp_path, photos, way):
    """The context class of the fakes is white, so a bank of four colours gives its scores."""
    refine = RefineSettings("none", 0.05)
    pseudo_label(
        segmenter(keep_scores=True, refine=refine, **way),
        photos,
        tmp_path / "out",
        ignoring=Ignoring(0.5),
    )
    labels = [item.labels for item in segmenter(**way)(photos)]
    four = segmenter(("red", "green", "blue", "white"), keep_scores=True)(photos)
    written = zip(
        masks(tmp_path / "out", "teacher/confidence"), masks(tmp_path / "out"), strict=True
    )
    for own, scores, (levels, mask) in zip(labels, four, written, strict=True):
        for y, x in np.ndindex(own.shape):
            red, green, blue, white = map(float, scores.scores[:, y, x])
            level = way.get("background_threshold", -np.inf)
            rest = max(white if "background" in way else -np.inf, level)
            values = [red, green, blue]
            if "green" in way.get("background", []):
                rest, values[1] = max(rest, green), -np.inf
            logits = torch.tensor([*values, rest]) / 0.05
            label = 3 if own[y, x] == 255 else int(own[y, x])
            share = float(logits.softmax(0)[label])
            assert abs(int(levels[y, x]) - share * 255) < 1.5
            assert mask[y, x] == (label if levels[y, x] >= 128 else 255)


def test_doubtful_background_is_ignored(tmp_path, photos):
    way = {"background_threshold": 0.3, "keep_scores": True, "refine": RefineSettings("none", 0.05)}
    found = pseudo_label(segmenter(**way), photos, tmp_path / "out", ignoring=Ignoring(0.7))
    background = found.balance[3]
    assert 0 < background.kept < background.pixels
    half = pseudo_label(
        segmenter(**way), photos, tmp_path / "out", ignoring=Ignoring(None, 0.5), resume=True
    )
    assert background.pixels / 2 <= half.balance[3].kept < background.pixels


@pytest.mark.parametrize("refine", ["none", "pamr"])
def test_ambiguous_pixels_have_no_class(tmp_path, photos, refine):
    way = {"background_threshold": 0.3, "refine": refine}
    found = pseudo_label(segmenter(ambiguity=0.2, **way), photos, tmp_path / "out")
    plain = [item.labels for item in segmenter(**way)(photos)]
    both = [item.labels for item in segmenter(ambiguity=0.2, **way)(photos)]
    unclear = [item.labels == 255 for item in segmenter(ambiguity=0.2, refine=refine)(photos)]
    for mask, one, other, doubt in zip(masks(tmp_path / "out"), plain, both, unclear, strict=True):
        expected = np.where(doubt, 255, np.where(one == 255, 3, one))
        np.testing.assert_array_equal(mask, expected)
        np.testing.assert_array_equal(np.where(mask == 3, 255, mask), other)
    assert found.background == sum(doubt.sum() for doubt in unclear) > 0


def test_background_is_not_painted_over_photos(tmp_path, photos):
    way = {"background_threshold": 0.3}
    for name, ignore in (("as-class", False), ("ignored", True)):
        pseudo_label(
            segmenter(**way), photos, tmp_path / name, overlays=True, ignore_background=ignore
        )
    for number in range(3):
        one, other = (
            (tmp_path / name / f"teacher/overlays/{number}.jpg").read_bytes()
            for name in ("as-class", "ignored")
        )
        assert one == other
    assert any((mask == 3).any() for mask in masks(tmp_path / "as-class"))


def test_background_is_ignored_if_asked_for(tmp_path, photos):
    way = {"background": ["context"]}
    found = pseudo_label(segmenter(**way), photos, tmp_path / "out", ignore_background=True)
    for mask, item in zip(masks(tmp_path / "out"), segmenter(**way)(photos), strict=True):
        np.testing.assert_array_equal(mask, item.labels)
    assert (found.names, found.background_label) == (NAMES[:3], None)
    assert found.background > 0
    with pytest.raises(OutputError, match="other settings"):
        pseudo_label(segmenter(**way), photos, tmp_path / "out", resume=True)
    with pytest.raises(RecosegError, match="--ignore-background would have no effect"):
        pseudo_label(segmenter(), photos, tmp_path / "new", ignore_background=True)


def test_several_devices_label_alike(tmp_path, photos):
    way = {"background_threshold": 0.3}
    two = in_parallel([segmenter(**way), segmenter(**way)], 1)
    pseudo_label(two, photos, tmp_path / "two")
    pseudo_label(segmenter(**way), photos, tmp_path / "one")
    for mask, other in zip(masks(tmp_path / "two"), masks(tmp_path / "one"), strict=True):
        np.testing.assert_array_equal(mask, other)


def named_background(**options):
    """A segmenter whose class green is called background."""
    bank = make_bank()
    renamed = tuple(
        replace(one, words=ClassNames("background", ("green",))) if one.name == "green" else one
        for one in bank.concepts
    )
    bank = replace(bank, concepts=renamed)
    return bank_segmenter(bank, phi=ColourEncoder(PHI), saliency=ColourEncoder(TEXT), **options)


def test_a_class_called_background(tmp_path, photos):
    with pytest.raises(RecosegError, match=r"has a class .background.*--ignore-background"):
        pseudo_label(named_background(background_threshold=0.3), photos, tmp_path / "out")
    plain = pseudo_label(named_background(), photos, tmp_path / "plain")
    assert plain.background_label is None  # a class like any other
    way = {"background_threshold": 0.3, "background": ["background"], "keep_scores": True}
    found = pseudo_label(named_background(**way), photos, tmp_path / "out", ignoring=Ignoring(0.01))
    assert (found.names, found.background_label) == (("red", "background", "blue"), 1)
    for mask, item in zip(
        masks(tmp_path / "out", "teacher/labels"), named_background(**way)(photos), strict=True
    ):
        np.testing.assert_array_equal(mask, np.where(item.labels == 255, 1, item.labels))


def test_a_manifest_with_a_background_that_is_no_class_is_refused(tmp_path, photos):
    found = pseudo_label(segmenter(), photos, tmp_path / "out")
    replace(found, background_label=3).write(tmp_path / "out")
    with pytest.raises(RecosegError, match="expected a label of its classes for background, got 3"):
        PseudoLabels.read(tmp_path / "out")
