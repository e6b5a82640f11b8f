"""Scores of the whole photo, compared with the retrieval encoder's own cosines."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from recoseg.config import BankSettings, Fusion, LearnSettings
from recoseg.encoders.bundle import Encoders
from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import EncoderMismatchError, RecosegError
from recoseg.photos.frame import Frame
from recoseg.photos.images import to_frame
from recoseg.pipeline.segment import open_segmenter
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.presence import PresenceRule

from .fakes import COLOURS, ColourEncoder, make_bank
from .test_bank_segmenter import PHI, TEXT, noise

INFO = EncoderInfo("whole", "random", "f" * 16, 3)
WEIGHT = 0.6


class MeanColour:
    """Embeds a photo by its mean colour, and a text by the colour that it names."""

    def __init__(self, info=INFO, size=16):
        self.info, self.frame = info, Frame(size)
        self.sizes = []

    def embed_images(self, images):
        self.sizes.append(tuple(images.shape))
        return F.normalize(images.float().mean((2, 3)) - 127.5, dim=1)

    def embed_texts(self, texts):
        rows = [torch.tensor(COLOURS[text]) - 127.5 for text in texts]
        return F.normalize(torch.stack(rows), dim=1)


def bank():
    made = make_bank(fusion=Fusion("sum"))
    settings = BankSettings(LearnSettings(prompts="none"), made.settings.segment)
    return replace(made, encoders=replace(made.encoders, retrieval=INFO), settings=settings)


def encoders(retrieval=None):
    phi, saliency = ColourEncoder(PHI), ColourEncoder(TEXT)
    return Encoders(retrieval or MeanColour(), saliency, (phi,))


def made(form="sum", weight=WEIGHT, given=None, **options):
    return bank_segmenter(
        bank(),
        encoders=given or encoders(),
        fusion=Fusion(form, photo_weight=weight),
        keep_scores=True,
        **options,
    )


def cosines(pixels):
    """What the encoder says of the square in the centre of a photo."""
    encoder = MeanColour()
    framed = to_frame(Image.fromarray(pixels), encoder.frame)[None]
    rows = encoder.embed_texts(["red", "green", "blue"])
    return (encoder.embed_images(framed) @ rows.T)[0].numpy()


@pytest.mark.parametrize("form", ["sum", "visual", "text"])
@pytest.mark.parametrize("windows", [{}, {"window": 24, "window_step": 16}])
def test_the_photo_s_cosines_are_added_everywhere(form, windows):
    photos = [noise(seed, 37, 53) for seed in range(2)]
    given = encoders()
    before, after = made(form, 0, **windows)(photos), made(form, given=given, **windows)(photos)
    for pixels, plain, found in zip(photos, before, after, strict=True):
        expected = plain.scores + WEIGHT * cosines(pixels)[:, None, None]
        np.testing.assert_allclose(found.scores, expected, atol=2e-3)  # kept in fp16
    assert (before[0].labels != after[0].labels).any()
    assert given.retrieval.sizes == [(2, 3, 16, 16)]  # whole photos, never windows


def test_a_photo_that_fits_one_class_is_given_to_it_where_others_are_as_good():
    pixels = np.full((32, 32, 3), 128, np.uint8)
    pixels[8:24, 8:24] = COLOURS["red"]  # in the centre, which the frame shows in full
    grey = made(weight=0, presence=PresenceRule(least_best=-9))(pixels).scores[:, 0, 0]
    assert np.ptp(grey) < 0.1  # nobody wins the grey corner clearly
    assert made(weight=2)(pixels).labels[0, 0] == 0


def test_without_a_weight_the_encoder_is_not_used():
    given = encoders()
    found = made(weight=0, given=given)
    found(noise(0, 37, 53))
    assert not given.retrieval.sizes
    assert "photo_weight" not in found.settings["fusion"]
    assert [one.kind for one in found.branches] == ["visual", "text"]
    assert made().settings["fusion"]["photo_weight"] == WEIGHT


@pytest.mark.parametrize(
    "options", [{"refine": "lposs"}, {"refine": "pamr"}, {"naming": "softmax"}]
)
def test_refined_and_by_names(options):
    pixels = noise(1, 37, 53)
    plain, found = made(weight=0, **options)(pixels), made(weight=8, **options)(pixels)
    assert (plain.labels != found.labels).any()
    assert found.labels[18, 26] == cosines(pixels).argmax()


def test_what_does_not_fit_is_refused():
    with pytest.raises(
        RecosegError,
        match=r"uses no score of the whole photo\. Leave out --photo",
    ):
        made("product")
    other = encoders(MeanColour(replace(INFO, fingerprint="e" * 16)))
    with pytest.raises(EncoderMismatchError, match="as retrieval encoder"):
        made(given=other)
    with pytest.raises(RecosegError, match="photo_weight is nan"):
        Fusion("sum", photo_weight=float("nan"))


def test_the_weight_is_given_or_the_bank_s():
    own = bank()
    found = open_segmenter(own, encoders=encoders(), photo_weight=0.3)
    assert found.settings["fusion"]["photo_weight"] == 0.3
    segment = replace(own.settings.segment, fusion=Fusion("sum", photo_weight=0.4))
    weighed = replace(own, settings=replace(own.settings, segment=segment))
    assert weighed.settings.to_json()["segment"]["fusion"]["photo_weight"] == 0.4
    found = open_segmenter(weighed, encoders=encoders())
    assert found.settings["fusion"]["photo_weight"] == 0.4
    assert "photo_weight" not in own.settings.to_json()["segment"]["fusion"]
