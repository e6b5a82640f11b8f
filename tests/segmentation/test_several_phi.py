"""Banks of several dense image encoders: one visual branch for each."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from recoseg.concepts import ConceptBank
from recoseg.config import Fusion
from recoseg.encoders.bundle import Encoders
from recoseg.errors import EncoderMismatchError, RecosegError
from recoseg.pipeline.segment import open_segmenter
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.segmenter import stream_together
from tests.banks import references_of

from .fakes import ColourEncoder, make_bank
from .test_bank_segmenter import noise

PHIS = (4, 8)


def bank(fusion="product"):
    """References of the second encoder are those of the first, the other way round."""
    one = make_bank(fusion=Fusion(fusion))
    infos = tuple(ColourEncoder(stride).info for stride in PHIS)
    references = [references_of(concept) for concept in one.concepts]
    concepts = tuple(
        replace(concept, references={infos[0].key: first, infos[1].key: second})
        for concept, first, second in zip(one.concepts, references, references[::-1], strict=True)
    )
    return ConceptBank(concepts, replace(one.encoders, phi=infos), one.settings)


def made(form="product", phis=None, **options):
    phis = [ColourEncoder(stride) for stride in PHIS] if phis is None else phis
    return bank_segmenter(bank(form), phi=phis, saliency=ColourEncoder(6), **options)


def upsampled(scores, stride, hw):
    size = (scores.shape[2] * stride, scores.shape[3] * stride)
    large = F.interpolate(scores, size, mode="bilinear", align_corners=False)
    return large[0, :, : hw[0], : hw[1]]


@pytest.mark.parametrize("weights", [(), (0.5, 2.0), (1.0, -0.25), (0.0, 1.0)])
@pytest.mark.parametrize("form", ["product", "sum", "visual"])
def test_scores_are_those_of_the_branches_added_or_multiplied(form, weights):
    pixels = noise(0, 37, 53)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    fusion, own = Fusion(form, phi_weights=weights), bank(form)
    parts = []
    for stride, weight in zip(PHIS, weights or (1, 1), strict=True):
        info = ColourEncoder(stride).info
        rows = torch.cat([concept.references[info.key] for concept in own.classes])
        cosines = torch.einsum(
            "nchw,mc->nmhw", F.normalize(ColourEncoder(stride).features(image), dim=1), rows
        )
        cosines = weight * cosines
        active = torch.sigmoid(cosines) if form == "product" else cosines
        parts.append(upsampled(active, stride, pixels.shape[:2]))
    rows = torch.cat([concept.text_positive for concept in own.classes])
    text = torch.einsum("nchw,mc->nmhw", F.normalize(ColourEncoder(6).features(image), dim=1), rows)
    expected = {
        "product": lambda: parts[0] * parts[1] * upsampled(torch.sigmoid(10 * text), 6, (37, 53)),
        "sum": lambda: parts[0] + parts[1] + fusion.text_weight * upsampled(text, 6, (37, 53)),
        "visual": lambda: parts[0] + parts[1],
    }[form]()
    found = made(form, fusion=fusion, keep_scores=True)(pixels)
    np.testing.assert_allclose(found.scores, expected.numpy(), atol=2e-3)  # kept in fp16
    assert (found.labels == expected.argmax(0).numpy()).mean() > 0.99


def test_weights_of_a_bank_count_and_can_be_replaced():
    pixels = noise(2, 24, 36)
    plain = bank("sum")
    fusion = replace(plain.settings.segment.fusion, phi_weights=(3.0, 0.5))
    segment = replace(plain.settings.segment, fusion=fusion)
    weighed = replace(plain, settings=replace(plain.settings, segment=segment))
    options = {
        "encoders": Encoders(
            ColourEncoder(6), ColourEncoder(6), tuple(ColourEncoder(stride) for stride in PHIS)
        ),
        "keep_scores": True,
    }
    by_bank = open_segmenter(weighed, **options)
    by_option = open_segmenter(plain, phi_weights=[3.0, 0.5], **options)
    assert by_bank.settings["fusion"]["phi_weights"] == (3.0, 0.5)
    np.testing.assert_array_equal(by_bank(pixels).scores, by_option(pixels).scores)
    neutral = open_segmenter(weighed, phi_weights=[1, 1], **options)
    unweighed = open_segmenter(plain, **options)
    assert "phi_weights" not in unweighed.settings["fusion"]
    np.testing.assert_array_equal(neutral(pixels).scores, unweighed(pixels).scores)
    assert (by_bank(pixels).scores != unweighed(pixels).scores).any()


@pytest.mark.parametrize("weights", [(1.0,), (1.0, 1.0, 1.0)])
def test_one_weight_for_each_phi(weights):
    message = rf"Expected a weight for each of the bank's 2 phi, in its order; got {len(weights)}"
    with pytest.raises(RecosegError, match=message):
        made(fusion=Fusion(phi_weights=weights))
    with pytest.raises(RecosegError, match=message):
        open_segmenter(bank(), phi_weights=weights)  # before encoders are loaded


def test_together_with_other_weights_of_the_same_encoders():
    phis, text = [ColourEncoder(stride) for stride in PHIS], ColourEncoder(6)
    both = [
        bank_segmenter(bank("sum"), phi=phis, saliency=text, fusion=Fusion("sum", **weights))
        for weights in ({}, {"phi_weights": (4.0, -1.0)})
    ]
    photos = [noise(seed, 24, 36) for seed in range(2)]
    for pixels, results in zip(photos, stream_together(both, photos), strict=True):
        for result, one in zip(results, both, strict=True):
            np.testing.assert_array_equal(result.labels, one(pixels).labels)
    assert (both[0](photos[0]).labels != both[1](photos[0]).labels).any()


def test_each_branch_is_named_by_its_encoder():
    names = [branch.name for branch in made().branches]
    assert len(set(names)) == 3
    assert [branch.kind for branch in made().branches] == ["visual", "visual", "text"]
    assert [branch.stride for branch in made().branches] == [4, 8, 6]


def test_together_with_a_segmenter_of_one_of_them():
    phis = [ColourEncoder(stride) for stride in PHIS]
    both = made(phis=phis)
    one = bank_segmenter(make_bank(), phi=phis[0], saliency=both.branches[-1].encoder)
    photos = [noise(seed, 24, 36) for seed in range(3)]
    for pixels, results in zip(photos, stream_together([both, one], photos), strict=True):
        np.testing.assert_array_equal(results[0].labels, made()(pixels).labels)
        np.testing.assert_array_equal(results[1].labels, one(pixels).labels)
    assert [sum(call[0] for call in phi.calls) for phi in phis][1] == 3


def test_encoders_may_come_in_any_order_and_have_to_be_the_banks():
    pixels = noise(1, 24, 36)
    swapped = made(phis=[ColourEncoder(stride) for stride in PHIS[::-1]])
    np.testing.assert_array_equal(swapped(pixels).labels, made()(pixels).labels)
    with pytest.raises(EncoderMismatchError, match="as phi encoder, got other"):
        made(phis=[ColourEncoder(4), ColourEncoder(8, "other", "f" * 16)])
