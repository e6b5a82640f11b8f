"""Scores by a decoder, compared with its maps read at each cell's centre."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from recoseg.config import Fusion
from recoseg.decoders.class_maps import of_words
from recoseg.decoders.decoding import Decoded
from recoseg.decoders.instances import Instances, none
from recoseg.decoders.sam3 import Prompts
from recoseg.encoders.bundle import Encoders
from recoseg.errors import OptionError, RecosegError
from recoseg.pipeline.segment import open_segmenter
from recoseg.pipeline.segment_options import with_instances
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.decoder_branch import STRIDE, DecodedClasses
from recoseg.segmentation.instances import of_decoder

from .fakes import COLOURS, ColourEncoder, make_bank
from .test_bank_segmenter import PHI, TEXT, noise

A, B = 5, 9  # the grid of the maps


class Planted:
    """A decoder that finds the words `red`, `green` and `blue` by colour, on a grid of its own."""

    name, origin, fingerprint, side = "planted", "random", "e" * 16, 24

    def __init__(self, instances=None):
        self.words, self.sizes, self.instances = [], [], instances or none((A, B))

    def prompts(self, words):
        self.words = list(words)
        return Prompts(torch.zeros(len(words), 1, 1), torch.ones(len(words), 1, dtype=torch.bool))

    def decode(self, images, prompts, spans, preview):
        for maps in self.maps(images, prompts):
            pairs = zip(spans.positive, spans.negative, strict=True)
            yield Decoded(torch.stack([of_words(maps, *pair) for pair in pairs]), self.instances)

    def maps(self, images, prompts):
        self.sizes.append(tuple(images.shape[2:]))
        small = torch.nn.functional.adaptive_avg_pool2d(images.float() / 255, (A, B))
        return torch.stack([self.one(small, word) for word in self.words], 1)

    @staticmethod
    def one(small, word):
        direction = torch.tensor(COLOURS[word]).float() / 255
        return (small * direction[None, :, None, None]).sum(1) / direction.sum()


def made(form, decoder, weight=1.0, bank=None, **options):
    encoders = Encoders(None, ColourEncoder(TEXT), (ColourEncoder(PHI),))
    return bank_segmenter(
        bank or make_bank(),
        encoders=encoders,
        fusion=Fusion(form, decoder_weight=weight),
        decoder=decoder,
        keep_scores=True,
        **options,
    )


def planted(pixels, words=("red", "green", "blue")):
    """The maps of words at the centre of each cell of the input, found by hand."""
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None]
    decoder = Planted()
    maps = decoder.maps(image, decoder.prompts(words))[0].numpy()
    height, width = pixels.shape[:2]
    cells = np.zeros((len(words), -(-height // STRIDE), -(-width // STRIDE)))
    for row in range(cells.shape[1]):
        for column in range(cells.shape[2]):
            y = np.clip((row + 0.5) * STRIDE / height * A - 0.5, 0, A - 1)
            x = np.clip((column + 0.5) * STRIDE / width * B - 0.5, 0, B - 1)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, A - 1), min(left + 1, B - 1)
            upper = maps[:, top, left] * (1 - x + left) + maps[:, top, right] * (x - left)
            lower = maps[:, bottom, left] * (1 - x + left) + maps[:, bottom, right] * (x - left)
            cells[:, row, column] = upper * (1 - y + top) + lower * (y - top)
    return cells


def test_cells_hold_the_maps_at_their_centres():
    pixels = noise(3, 37, 53)
    bank = make_bank()
    encoder = DecodedClasses(Planted(), bank.classes)
    found = encoder.features(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0]
    np.testing.assert_allclose(found.numpy(), planted(pixels), atol=1e-5)


def at_pixels(cells, size):
    """Cells spread over a photo, as other branches' scores are."""
    up = torch.nn.functional.interpolate(
        torch.from_numpy(cells)[None].float(), scale_factor=STRIDE, mode="bilinear"
    )
    return up[0, :, : size[0], : size[1]].numpy()


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        ("decoder", lambda plain, own: own),
        ("product", lambda plain, own: plain * own),
        ("sum", lambda plain, own: plain + 0.7 * own),
        ("text", lambda plain, own: plain + 0.7 * own),
        ("visual", lambda plain, own: plain + 0.7 * own),
    ],
)
def test_scores_are_combined_as_the_fusion_says(form, expected):
    pixels = noise(1, 40, 56)
    other = "product" if form == "decoder" else form
    plain = made(other, None, resize=0)(pixels).scores.astype(np.float32)
    found = made(form, Planted(), 0.7, resize=0)(pixels).scores.astype(np.float32)
    own = at_pixels(planted(pixels), (40, 56))
    np.testing.assert_allclose(found, expected(plain, own), atol=4e-3)


def test_alone_its_input_has_the_decoder_s_size_and_no_encoder_is_used():
    decoder = Planted()
    segmenter = made("decoder", decoder)
    assert [branch.kind for branch in segmenter.branches] == ["decoder"]
    segmenter(noise(1, 40, 56))
    assert min(decoder.sizes[0]) == decoder.side
    assert segmenter.settings["decoder"]["fingerprint"] == "e" * 16


def test_a_better_negative_word_leaves_nothing():
    bank = make_bank()
    words = SimpleNamespace(prompts=("red",), negatives=("green",), name="red")
    encoder = DecodedClasses(Planted(), [SimpleNamespace(words=words, prompt=None)])
    pixels = noise(2, 20, 36)
    found = encoder.features(torch.from_numpy(pixels).permute(2, 0, 1)[None])[0, 0]
    red, green = planted(pixels, ("red", "green"))
    clear = np.abs(red - green) > 0.15  # between them, maps are cut before they are read
    assert (found.numpy()[clear & (green > red)] < red[clear & (green > red)]).all()
    assert bank.classes


def test_instances_of_the_decoder_are_in_the_results():
    masks = torch.zeros(2, A, B).half()
    masks[0, :, :4], masks[1, 2:] = 1, 0.8
    own = Instances(torch.tensor([0, 0]), torch.tensor([0.9, 0.7]), masks)
    photos = [noise(seed, 40, 56) for seed in (1, 2)]
    plain = made("decoder", Planted(own))
    assert plain(photos[0]).instances is None
    segmenter = with_instances(plain, "decoder")
    assert segmenter.settings["instances"] == "decoder"
    for result in segmenter(photos):
        expected = of_decoder(result.labels, own, 3)
        assert np.array_equal(result.instances.numbers, expected.numbers)
        assert result.instances.scores == expected.scores
        assert 0 < (result.instances.numbers > 0).sum() <= (result.labels == 0).sum()


def test_what_would_have_no_effect_is_refused():
    with pytest.raises(OptionError, match="Add one: --decoder sam3"):
        made("decoder", None)
    for given in ({}, {"decoder": Planted(), "fusion": "product"}):
        with pytest.raises(RecosegError, match="--decoder-weight would have no effect"):
            open_segmenter(make_bank(), decoder_weight=0.5, **given)
    with pytest.raises(RecosegError, match="decoder"):
        open_segmenter(make_bank(), decoder="sam4")
