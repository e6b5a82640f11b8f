"""Probabilities over names, against a literal computation and the published code's numbers."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from recoseg.classes import ClassNames
from recoseg.config import Fusion
from recoseg.errors import RecosegError
from recoseg.photos.load import LoadedPhoto
from recoseg.photos.refs import Photo
from recoseg.refinement.pamr import pamr
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.fusion import fusion_rule
from recoseg.segmentation.label_maps import BackgroundRule
from recoseg.segmentation.labeller import Labeller
from recoseg.segmentation.naming import Naming
from recoseg.segmentation.presence import PresenceRule
from recoseg.segmentation.score_grids import Grid
from recoseg.segmentation.segmenter import stream_together
from tests import fixtures

from .fakes import COLOURS, ColourEncoder, make_bank, unit
from .test_bank_segmenter import noise

PHI, TEXT = 4, 6


def literal(cosines, class_of_name, temperature):
    """Probabilities of classes, place by place."""
    names, height, width = cosines.shape
    table = torch.zeros(max(class_of_name) + 1, height, width)
    for y in range(height):
        for x in range(width):
            powers = [math.exp(temperature * float(cosines[m, y, x])) for m in range(names)]
            for name, power in enumerate(powers):
                number = class_of_name[name]
                table[number, y, x] = max(float(table[number, y, x]), power / sum(powers))
    return table


def literal_labels(table, background, area_thd, prob_thd):
    """The class of each place: the published order of the rules, with a class of background."""
    table = table.clone()
    winners = table.argmax(0)
    if area_thd is not None:
        foreground = sum(int((winners == c).sum()) for c in range(len(table)) if c != background)
        for c in range(len(table)):
            if c != background and int((winners == c).sum()) <= area_thd * foreground:
                table[c] = 0
    best, labels = table.max(0)
    return torch.where(best < prob_thd, background, labels)


def labeller(classes, class_of_name, temperature, background, prob_thd, area_thd, **options):
    names = tuple(map(str, range(classes)))
    return Labeller(
        names,
        names,
        ((0, 0, 0),) * classes,
        fusion_rule("text"),
        background=BackgroundRule(prob_thd, () if background is None else (background,)),
        naming=Naming(tuple(class_of_name), temperature),
        presence=PresenceRule(least_area=area_thd),
        **options,
    )


def label(made, cosines):
    """Label one photo whose cells are its pixels."""
    height, width = cosines.shape[1:]
    photo = LoadedPhoto(
        Photo(""), torch.zeros(3, height, width).byte(), Image.new("RGB", (width, height))
    )
    [found] = made.label([photo], {"text:any": Grid(cosines[None], 1)})
    return found


@pytest.mark.parametrize("area_thd", [None, 0.0, 0.2, 0.6])
@pytest.mark.parametrize("prob_thd", [0.0, 0.4])
def test_equal_to_the_definition(area_thd, prob_thd):
    torch.manual_seed(0)
    cosines, class_of_name = 0.2 * torch.randn(5, 6, 7), [2, 0, 0, 1, 2]
    made = labeller(3, class_of_name, 10, 0, prob_thd, area_thd, keep_scores=True)
    found = label(made, cosines)
    table = literal(cosines, class_of_name, 10)
    np.testing.assert_allclose(found.scores, table, atol=1e-3)  # kept in fp16
    expected = literal_labels(table, 0, area_thd, prob_thd).numpy()
    np.testing.assert_array_equal(np.where(found.labels == 255, 0, found.labels), expected)


@fixtures.needed
@pytest.mark.parametrize("case", ["plain", "threshold", "area"])
def test_equal_to_the_published_code(case):
    tensors, metadata = fixtures.load("postprocess")
    chosen = json.loads(metadata["cases"])[case]
    cosines, class_of_name = tensors["cosines"][0], tensors["class_of_name"].tolist()
    naming = Naming(tuple(class_of_name), chosen["logit_scale"])
    found = naming.best(naming.probabilities(cosines))
    if chosen["area_thd"] is not None:
        kept = PresenceRule(least_area=chosen["area_thd"]).large([found], [0], None)
        found = torch.where(kept[:, None, None], found, 0.0)
    torch.testing.assert_close(found, tensors[f"expected.scores.{case}"], rtol=0, atol=1e-5)
    made = labeller(
        len(found),
        class_of_name,
        chosen["logit_scale"],
        0,
        chosen["prob_thd"],
        chosen["area_thd"],
    )
    labels = label(made, cosines).labels
    expected = tensors[f"expected.labels.{case}"].numpy()
    np.testing.assert_array_equal(np.where(labels == 255, 0, labels), expected)


def with_aliases(bank):
    """The bank with a second name of its first class: white."""
    context, first, *others = bank.concepts
    words = ClassNames(first.name, (first.name, "white"))
    both = torch.cat([first.text_positive, unit("white")])
    first = replace(first, words=words, text_positive=both)
    return replace(bank, concepts=(context, first, *others))


def segmenter(bank=None, form="sum", **options):
    options = {"phi": ColourEncoder(PHI), "saliency": ColourEncoder(TEXT), **options}
    bank = with_aliases(make_bank()) if bank is None else bank
    return bank_segmenter(bank, fusion=Fusion(form), naming="softmax", **options)


def upsampled(pixels, stride, rows):
    """Cosines with unit rows at the pixels."""
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    features = F.normalize(ColourEncoder(stride).features(image), dim=1)
    cosines = torch.einsum("nchw,mc->nmhw", features, torch.cat(rows))
    size = [side * stride for side in cosines.shape[2:]]
    up = F.interpolate(cosines, size, mode="bilinear", align_corners=False)[0]
    return up[:, : pixels.shape[0], : pixels.shape[1]]


NAMES = ("red", "white", "green", "blue")
CLASS_OF_NAME = [0, 0, 1, 2]


@pytest.mark.parametrize("form", ["text", "sum"])
def test_a_class_counts_for_each_of_its_names(form):
    pixels = noise(7, 37, 53)
    logits = upsampled(pixels, TEXT, [unit(name) for name in NAMES])
    if form == "sum":
        visual = upsampled(pixels, PHI, [unit(name) for name in ("red", "green", "blue")])
        logits = visual[CLASS_OF_NAME] + Fusion().text_weight * logits
    found = segmenter(form=form, names_temperature=5, keep_scores=True)(pixels)
    expected = literal(logits, CLASS_OF_NAME, 5)
    np.testing.assert_allclose(found.scores, expected, atol=1e-3)
    assert (found.labels == expected.argmax(0).numpy()).mean() > 0.99


def test_refinement_starts_from_the_probabilities_of_names():
    pixels = noise(8, 36, 48)
    found = segmenter(form="text", names_temperature=5, refine="pamr", background_threshold=0.6)(
        pixels
    )
    logits = upsampled(pixels, TEXT, [unit(name) for name in NAMES])
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    refined = pamr((5 * logits).softmax(0)[None], image)[0]
    best = torch.stack([refined[:2].amax(0), refined[2], refined[3]])
    expected = torch.where(best.amax(0) < 0.6, 255, best.argmax(0)).numpy()
    assert (found.labels == expected).mean() > 0.99
    assert (expected == 255).any()


def test_cosines_and_probabilities_share_encoders_but_not_scores():
    bank, phi, saliency = with_aliases(make_bank()), ColourEncoder(PHI), ColourEncoder(TEXT)
    both = {"phi": phi, "saliency": saliency, "fusion": Fusion("text"), "keep_scores": True}
    rows = [bank_segmenter(bank, naming=form, **both) for form in ("cosine", "softmax")]
    [[cosine, softmax]] = list(stream_together(rows, [noise(9, 24, 24)]))
    assert len(saliency.calls) == 1
    alone = [row(noise(9, 24, 24)) for row in rows]
    np.testing.assert_array_equal(cosine.scores, alone[0].scores)
    np.testing.assert_array_equal(softmax.scores, alone[1].scores)
    assert "names_temperature" in rows[1].settings
    assert not {"names_temperature", "presence", "ambiguity"} & set(rows[0].settings)


def test_what_has_no_names_is_refused():
    for form in ("product", "visual"):
        with pytest.raises(RecosegError, match=f"The fusion {form} has no scores of single names"):
            segmenter(form=form)
    with pytest.raises(RecosegError, match="names_temperature is 0"):
        segmenter(names_temperature=0.0)
    with pytest.raises(RecosegError, match="are probabilities, expected 0 to 1"):
        segmenter(background_threshold=1.5)
    with pytest.raises(RecosegError, match="class 1 has none"):
        Naming((0, 2))
    with pytest.raises(RecosegError, match="class 0 has none"):
        Naming((0, 1), negative=(0,))


@pytest.mark.parametrize("form", ["text", "sum"])
def test_negative_words_compete_and_count_for_no_class(form):
    bank = with_aliases(make_bank())
    context, first, *others = bank.concepts
    first = replace(first, text_negative=unit("black"))
    bank = replace(bank, concepts=(context, first, *others))
    pixels = noise(10, 37, 53)
    words = ("red", "white", "black", "green", "blue")
    logits = upsampled(pixels, TEXT, [unit(name) for name in words])
    if form == "sum":
        visual = upsampled(pixels, PHI, [unit(name) for name in ("red", "green", "blue")])
        logits = visual[[0, 0, 0, 1, 2]] + Fusion().text_weight * logits
    found = segmenter(bank, form=form, names_temperature=5, keep_scores=True)(pixels)
    expected = literal(logits, [0, 0, 3, 1, 2], 5)[:3]  # as if the negative word were a class
    np.testing.assert_allclose(found.scores, expected, atol=1e-3)
    assert (expected.sum(0) < 0.5).any()


def test_white_is_red_by_its_second_name():
    white = np.full((24, 24, 3), COLOURS["white"], np.uint8)
    assert (segmenter(form="text")(white).labels == 0).all()
