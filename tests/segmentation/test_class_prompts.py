"""What a decoder is asked for: prompts that a bank has learnt, or the words of its classes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from recoseg.config import Fusion
from recoseg.decoder_prompts import DecoderPrompt, PromptRecord, WordScore
from recoseg.decoders.prompt_learning import levelled
from recoseg.encoders.bundle import Encoders
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.class_prompts import class_prompts
from recoseg.segmentation.decoder_branch import DecodedClasses
from tests.decoders.stub import Stub

from .fakes import COLOURS, ColourEncoder, make_bank
from .test_bank_segmenter import PHI, TEXT

SIDE = 24


def prompt_of(stub, words, threshold, fingerprint=None, negatives=()):
    """A prompt as if the first word had got all the weight."""
    rows = stub.prompts([words[0], *negatives])
    listed = [WordScore(word, 0.5, float(not place)) for place, word in enumerate(words)]
    listed += [WordScore(word, 0.1, 0.0, is_negative=True) for word in negatives]
    made = PromptRecord("stub", fingerprint or stub.fingerprint, tuple(listed), threshold, 0.8, ())
    return DecoderPrompt(made, rows.tokens, rows.are_words)


def bank_with(stub, **prompts):
    bank = make_bank()
    own = [replace(one, prompt=prompts.get(one.name)) for one in bank.concepts]
    return replace(bank, concepts=tuple(own))


def photo():
    """Red above, and below a green that the stub takes for green with 0.61."""
    pixels = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8)
    pixels[:, 0, : SIDE // 2] = 255
    pixels[:, 1, SIDE // 2 :] = 255
    pixels[:, 2, SIDE // 2 :] = 50
    return pixels


def test_learnt_prompts_take_the_place_of_words():
    stub = Stub(COLOURS, SIDE)
    learnt = prompt_of(stub, ["green", "lawn"], 0.2, negatives=["blue"])
    asked = class_prompts(stub, bank_with(stub, red=learnt).classes)
    assert stub.asked[-1] == ["green", "blue"]  # the words of the other classes
    assert asked.spans.spans == ((0, 1, 2), (2, 3, 3), (3, 4, 4))
    assert asked.thresholds == (0.2, None, None)
    assert torch.equal(asked.prompts.tokens[:2], learnt.tokens)
    maps = stub.maps(photo(), asked.prompts)[0]
    cells = DecodedClasses(stub, bank_with(stub, red=learnt).classes).features(photo())[0]
    whole = torch.nn.functional.avg_pool2d(maps, 4)  # of one colour in each cell
    torch.testing.assert_close(cells[0, :2], levelled(whole[0], 0.2)[:2])
    torch.testing.assert_close(cells[1, 4:], whole[2][4:])
    assert asked.identity != class_prompts(stub, bank_with(stub).classes).identity
    other = prompt_of(stub, ["green", "lawn"], 0.3, negatives=["blue"])
    assert asked.identity != class_prompts(stub, bank_with(stub, red=other).classes).identity


def test_prompts_of_other_weights_are_not_used(caplog):
    stub = Stub(COLOURS, SIDE)
    bank = bank_with(stub, red=prompt_of(stub, ["green"], 0.2, "0" * 16))
    asked = class_prompts(stub, bank.classes)
    assert stub.asked[-1] == ["red", "green", "blue"]
    assert asked.thresholds == (None, None, None)
    assert "were learnt with other weights than those of stub" in caplog.text
    assert "looked for by their words: red." in caplog.text


@pytest.mark.parametrize(("threshold", "expected"), [(0.5, 1), (0.99, 255)])
def test_each_class_has_a_threshold_of_its_own(threshold, expected):
    stub = Stub(COLOURS, SIDE)
    prompts = {"red": (["red"], 0.5), "green": (["green"], threshold), "blue": (["blue"], 0.5)}
    bank = bank_with(stub, **{name: prompt_of(stub, *own) for name, own in prompts.items()})
    encoders = Encoders(None, ColourEncoder(TEXT), (ColourEncoder(PHI),))
    made = {"encoders": encoders, "decoder": stub, "fusion": Fusion("decoder")}
    pixels = photo()[0].permute(1, 2, 0).numpy()
    labels = bank_segmenter(bank, **made)(pixels).labels
    assert (labels[:8] == 0).all()
    assert (labels[16:] == expected).all()
    all_of_it = bank_segmenter(bank, background_threshold=0, **made)(pixels)
    assert set(np.unique(all_of_it.labels)) == {0, 1}
    product = made | {"fusion": Fusion("product")}
    assert bank_segmenter(bank, **product).settings["background_threshold"] is None
    plain = bank_segmenter(bank_with(stub), **made)
    assert plain.settings["background_threshold"] is None
