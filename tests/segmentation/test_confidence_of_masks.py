"""The confidence of each mask, against a literal computation from kept scores."""

import math
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from recoseg.config import Fusion
from recoseg.labels import Segmentation
from recoseg.photos.refs import Photo
from recoseg.refinement.refiner import PamrSettings, RefineSettings
from recoseg.segmentation import sampled
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.labeller import Labeller
from recoseg.segmentation.specks import SpeckRule
from recoseg.writers.folder import OutputFolder, read_segmentations

from .fakes import ColourEncoder, make_bank
from .test_bank_segmenter import noise

PAMR = RefineSettings("pamr", 0.05, PamrSettings(3, (1, 2)))


def segmenter(form="product", **options):
    bank = make_bank(fusion=Fusion(form))
    return bank_segmenter(bank, phi=ColourEncoder(4), saliency=ColourEncoder(6), **options)


def literal(result, temperature, step=1):
    """The mean probability of each class over its pixels, pixel by pixel."""
    classes, height, width = result.scores.shape
    found = {name: [] for name in result.names}
    for y in range(0, height, step):
        for x in range(0, width, step):
            label = int(result.labels[y, x])
            if label < classes:
                powers = [math.exp(float(s) / temperature) for s in result.scores[:, y, x]]
                found[result.names[label]].append(powers[label] / sum(powers))
    return {name: sum(values) / len(values) for name, values in found.items() if values}


@pytest.mark.parametrize(
    ("options", "temperature"),
    [
        ({}, 1.0),
        ({"form": "text"}, 1.0),
        ({"background_threshold": 0.45}, 1.0),
        ({"refine": PAMR}, 0.05),
        ({"refine": PAMR, "specks": SpeckRule(6)}, 0.05),
        ({"refine": RefineSettings("none", 0.1)}, 0.1),
    ],
)
def test_it_is_the_mean_probability_of_a_class_over_its_pixels(options, temperature):
    result = segmenter(keep_scores=True, **options)(noise(0, 30, 26))
    expected = literal(result, temperature)
    assert list(result.confidence()) == list(result.areas())
    assert result.confidence() == pytest.approx(expected, abs=2e-3)  # scores are kept in fp16
    assert [part["score"] for part in result.to_transformers()] == list(
        result.confidence().values()
    )


def test_it_needs_no_scores_to_be_kept_and_changes_no_label():
    bare, kept = segmenter()(noise(0, 30, 26)), segmenter(keep_scores=True)(noise(0, 30, 26))
    assert bare.scores is None
    assert bare.confidence() == kept.confidence()
    assert all(0 < value < 1 for value in bare.confidence().values())


@pytest.mark.parametrize("options", [{}, {"refine": PAMR}])
def test_of_a_large_photo_evenly_spaced_pixels_count(monkeypatch, options):
    monkeypatch.setattr(sampled, "MOST", 100)
    result = segmenter(keep_scores=True, **options)(noise(0, 30, 26))
    assert result.segmentation.probabilities.step == 3
    expected = literal(result, 0.05 if options else 1.0, step=3)
    assert result.confidence() == pytest.approx(expected, abs=2e-3)


def test_strips_give_the_same(monkeypatch):
    monkeypatch.setattr(sampled, "MOST", 100)
    plain = segmenter()
    expected = plain(noise(0, 30, 26)).confidence()
    monkeypatch.setattr(Labeller, "_most", property(lambda self: 3 * 26 * 4))  # four rows
    assert plain(noise(0, 30, 26)).confidence() == expected


@pytest.mark.parametrize("refine", ["none", PAMR])
def test_probabilities_of_names_are_taken_as_they_are(refine):
    options = {"form": "text", "naming": "softmax", "names_temperature": 5.0}
    made = segmenter(keep_scores=True, refine=refine, **options)
    result = made(noise(0, 30, 26))
    for name, value in result.confidence().items():
        own = result.scores[result.names.index(name)][result.mask(name)]
        assert value == pytest.approx(own.mean(dtype=np.float64), abs=2e-3)


def test_context_that_becomes_background_competes():
    shown = noise(0, 30, 26)
    result = segmenter(background=("context",))(shown)
    bank = make_bank()
    [sky] = bank.context
    as_class = replace(bank, concepts=(*bank.classes, replace(sky, role="class")))
    parts = {"phi": ColourEncoder(4), "saliency": ColourEncoder(6)}
    expected = literal(bank_segmenter(as_class, keep_scores=True, **parts)(shown), 1.0)
    assert result.confidence().keys() == expected.keys() - {"sky"}
    for name, value in result.confidence().items():
        assert value == pytest.approx(expected[name], abs=2e-3)


@pytest.mark.parametrize(
    "options",
    [
        {"background_threshold": 0.45},
        {"background": ("green",), "background_threshold": 0.4},
        {"background": ("context",), "refine": PAMR},
    ],
)
def test_background_as_a_class_has_one(options):
    made = segmenter(keep_scores=True, **options)
    made = replace(made, labeller=replace(made.labeller, background_class="background"))
    result = made(noise(0, 30, 26))
    assert "background" in result.confidence()
    expected = literal(result, 0.05 if "refine" in options else 1.0)
    assert result.confidence() == pytest.approx(expected, abs=2e-3)


def test_lines_of_a_folder_tell_it(tmp_path):
    result = segmenter()(noise(0, 30, 26))
    with OutputFolder(tmp_path / "out", result.names, result.palette) as folder:
        folder.write("one", Photo("one.jpg"), Image.new("RGB", (26, 30)), result.segmentation)
    [line] = read_segmentations(tmp_path / "out")
    assert line["confidence"] == pytest.approx(result.confidence(), abs=1e-6)
    assert list(line["confidence"]) == list(line["areas"])


def test_a_class_between_the_pixels_that_count_gets_what_is_known_nearby():
    values = np.array([[[0.75, 0.25]], [[0.25, 0.5]]], np.float16)
    labels = np.zeros((2, 4), np.uint8)
    labels[1, 3] = 1
    found = Segmentation(labels, ("a", "b"), (), None, replace(SAMPLED, values=values))
    assert found.confidence() == {"a": 0.5, "b": 0.5}


SAMPLED = sampled.Probabilities(np.zeros((2, 1, 2), np.float16), 2)


def test_label_maps_without_probabilities_have_none():
    assert Segmentation(np.zeros((2, 2), np.uint8), ("a",), ()).confidence() == {}


def test_photos_of_one_pixel_have_a_confidence():
    assert len(segmenter()(noise(0, 1, 1)).confidence()) <= 1
