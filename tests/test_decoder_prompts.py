"""Prompts of a decoder in banks: what is no prompt is refused, and masks depend on them."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from recoseg.concepts import ConceptBank
from recoseg.decoder_prompts import ARE_WORDS, TOKENS, DecoderPrompt, PromptRecord, WordScore
from recoseg.errors import ConceptError, RecosegError
from recoseg.storage.tensors import read_metadata, write_tensors
from tests.test_concepts import make_bank

WORDS = (WordScore("sea", 0.5, 1.0), WordScore("sky", 0.1, 0.0, is_negative=True))
RECORD = PromptRecord("sam3", "a" * 16, WORDS, 0.4, 0.7, ("/photos/1.jpg",))
MASK = torch.tensor([[1, 1, 0], [1, 0, 0]]).bool()


def prompt(tokens=None, mask=MASK, **changes):
    tokens = torch.linspace(-1, 1, 12).view(2, 3, 2) if tokens is None else tokens
    return DecoderPrompt(replace(RECORD, **changes), tokens, mask)


def bank(own):
    made = make_bank()
    return replace(
        made, concepts=(made.concepts[0], replace(made.concepts[1], prompt=own), made.concepts[3])
    )


def test_the_fingerprint_of_a_bank_depends_on_its_prompts():
    others = [None, prompt(), prompt(threshold=0.41), prompt(fingerprint="b" * 16)]
    others += [prompt(torch.ones(2, 3, 2)), prompt(mask=torch.ones(2, 3, dtype=torch.bool))]
    assert len({bank(own).fingerprint for own in others}) == len(others)
    assert bank(None).fingerprint == bank(None).fingerprint


@pytest.mark.parametrize(
    "wrong",
    [
        {"tokens": torch.zeros(1, 3, 2)},
        {"tokens": torch.zeros(2, 3, 2).half()},
        {"tokens": torch.full((2, 3, 2), torch.nan)},
        {"tokens": torch.zeros(2, 3, 0)},
        {"mask": torch.zeros(2, 3, dtype=torch.bool)},
        {"mask": torch.ones(2, 4, dtype=torch.bool)},
        {"threshold": 1.5},
        {"threshold": float("nan")},
        {"dice": -0.1},
        {"words": WORDS[1:]},
        {"words": (WordScore("sea", 0.5, 2.0),)},
    ],
)
@pytest.mark.wrong_shapes
def test_what_is_no_prompt_is_refused(wrong):
    with pytest.raises(RecosegError, match="expected"):
        prompt(**wrong)


@pytest.mark.parametrize(
    ("name", "tensor", "match"),
    [
        (f"1.{TOKENS}", torch.zeros(2, 3), "shape"),
        (f"1.{ARE_WORDS}", torch.full((2, 3), 0.5), "0 or 1"),
        (f"1.{ARE_WORDS}", None, "missing"),
    ],
)
@pytest.mark.wrong_shapes
def test_banks_with_damaged_prompts_are_refused(tmp_path, name, tensor, match):
    path = tmp_path / "bank"
    bank(prompt()).save(path)
    assert ConceptBank.load(path).concepts[1].prompt.record == RECORD
    tensors = load_file(path)
    if tensor is None:
        del tensors[name]
    else:
        tensors[name] = tensor
    write_tensors(path, tensors, read_metadata(path))
    with pytest.raises(ConceptError, match=match):
        ConceptBank.load(path)
