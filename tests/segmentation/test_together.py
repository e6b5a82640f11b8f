"""Several segmenters over the same photos, and refinement between scores and labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recoseg.classes import ClassNames
from recoseg.config import Fusion
from recoseg.errors import RecosegError, UnknownNameError
from recoseg.refinement.refiner import RefineSettings, build_refiner
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.segmenter import stream_together

from .fakes import ColourEncoder, make_bank
from .test_bank_segmenter import PHI, TEXT, noise, photo


def shared(bank, phi, saliency, **options):
    return bank_segmenter(bank, phi=phi, saliency=saliency, **options)


@pytest.mark.parametrize("windows", [{}, {"window": 24, "window_step": 12}])
def test_together_equals_one_after_the_other(windows):
    phi, saliency = ColourEncoder(PHI), ColourEncoder(TEXT)
    bank, other = make_bank(), make_bank(names=("white", "blue"))
    segmenters = [
        shared(bank, phi, saliency, **windows),
        shared(bank, phi, saliency, fusion=Fusion("visual"), **windows),
        shared(bank, phi, saliency, fusion=Fusion("text"), **windows),
        shared(other, phi, saliency, background=["sky"], **windows),
        shared(other, phi, saliency, refine="pamr", background_threshold=0.4, **windows),
        bank_segmenter(
            make_bank(phi_stride=12), phi=ColourEncoder(12), saliency=saliency, **windows
        ),
    ]
    photos = [noise(seed, *size) for seed, size in enumerate([(36, 48), (30, 30), (36, 48)])]
    together = list(stream_together(segmenters, photos))
    for number, segmenter in enumerate(segmenters):
        alone = segmenter(photos)
        for place, expected in enumerate(alone):
            found = together[place][number]
            assert found.names == expected.names
            np.testing.assert_array_equal(found.labels, expected.labels)


def test_each_photo_passes_each_encoder_once():
    phi, saliency = ColourEncoder(PHI), ColourEncoder(TEXT)
    segmenters = [shared(make_bank(), phi, saliency, fusion=Fusion(form)) for form in ("sum",) * 3]
    list(stream_together(segmenters, [photo(24, 24)] * 3))
    assert sum(call[0] for call in phi.calls) == 3
    assert sum(call[0] for call in saliency.calls) == 3


def test_segmenters_that_cannot_share_are_refused():
    one = shared(make_bank(), ColourEncoder(PHI), ColourEncoder(TEXT))
    with pytest.raises(RecosegError, match="the same input size, window"):
        next(
            stream_together(
                [one, shared(make_bank(), ColourEncoder(PHI), ColourEncoder(TEXT), resize=32)],
                [photo(8, 8)],
            )
        )
    with pytest.raises(RecosegError, match="got none"):
        next(stream_together([], [photo(8, 8)]))


def test_refinement_is_that_of_the_refiner():
    """The labels are the argmax of what the refiner makes of the kept scores."""
    settings = RefineSettings("pamr", temperature=0.05)
    segmenter = shared(
        make_bank(), ColourEncoder(PHI), ColourEncoder(TEXT), refine=settings, keep_scores=True
    )
    photos = [noise(seed, 40, 52) for seed in range(3)]
    changed = 0
    for image, result in zip(photos, segmenter(photos), strict=True):
        scores = torch.from_numpy(result.scores).float()[None]
        refined = build_refiner(settings)(torch.from_numpy(image).permute(2, 0, 1)[None], scores)
        same = (refined[0].argmax(0).numpy() == result.labels).mean()
        assert same > 0.995  # the kept scores are fp16
        changed += (scores[0].argmax(0).numpy() != result.labels).sum()
    assert changed > 0


def test_a_threshold_works_as_without_refinement_where_nothing_is_averaged():
    """No iteration of PAMR: the softmax keeps the order, so the labels are those of the scores."""
    still = RefineSettings("pamr")
    still = replace(still, pamr=replace(still.pamr, iterations=0))
    encoders = ColourEncoder(PHI), ColourEncoder(TEXT)
    options = {"background_threshold": 0.55, "background": ["context"]}
    plain = shared(make_bank(), *encoders, **options)
    refined = shared(make_bank(), *encoders, refine=still, **options)
    for seed in range(3):
        image = noise(seed, 40, 52)
        expected, found = plain(image).labels, refined(image).labels
        assert 0 < (expected == 255).mean() < 1
        assert (expected == found).mean() > 0.999


def test_an_unknown_refinement_is_refused():
    with pytest.raises(UnknownNameError, match=r"none, pamr, crf"):
        shared(make_bank(), ColourEncoder(PHI), ColourEncoder(TEXT), refine="blur")


def test_the_bank_s_temperature_counts_for_a_form_alone():
    bank = make_bank()
    segment = replace(bank.settings.segment, refine_temperature=0.03)
    bank = replace(bank, settings=replace(bank.settings, segment=segment))
    segmenter = shared(bank, ColourEncoder(PHI), ColourEncoder(TEXT), refine="pamr")
    assert segmenter.settings["refine"]["temperature"] == 0.03


def test_255_classes_and_context_as_background():
    """The label of background follows from the named classes, not from all that compete."""
    bank = make_bank(names=("red",))
    one = bank.classes[0]
    many = [replace(one, words=ClassNames(str(i), (str(i),))) for i in range(255)]
    bank = replace(bank, concepts=(*bank.context, *many))
    image = np.full((12, 12, 3), 255, np.uint8)
    result = shared(bank, ColourEncoder(PHI), ColourEncoder(TEXT), background=["sky"])(image)
    assert result.labels.dtype == np.uint8
    assert (result.labels == 255).all()
    assert result.ignore_index == 255
