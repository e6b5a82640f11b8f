"""A bank says which region memory it is meant for, and works without it."""

import logging
from dataclasses import replace

import numpy as np
import pytest

import recoseg
from recoseg.config import BankSettings, SegmentSettings, changed_fields
from recoseg.encoders.bundle import Encoders
from recoseg.errors import EncoderMismatchError, RecosegError
from tests.learning.fakes import SIZE, Phi, Retrieval, Saliency, make_archive, make_photo

SETTINGS = {"k": 4, "image_size": SIZE, "prompts": "none", "context": ()}


@pytest.fixture(scope="module")
def encoders():
    return Encoders(Retrieval(), Saliency(), (Phi(),))


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


@pytest.fixture(scope="module")
def memories(archive, encoders, tmp_path_factory):
    """A memory, and another one with other regions."""
    folder = tmp_path_factory.mktemp("memories")
    return [
        recoseg.remember(
            archive,
            folder / str(size),
            phi=encoders.phi,
            saliency=encoders.saliency,
            size=SIZE,
            regions=f"clusters:{size}",
        )
        for size in (4, 6)
    ]


@pytest.fixture(scope="module")
def bank(archive, encoders, memories):
    return recoseg.learn(
        archive, ["rose", "grass"], encoders=encoders, memory=memories[0], **SETTINGS
    )


def masks(bank, encoders, memory, caplog):
    """The labels of a photo by a bank, and what was told."""
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        opened = recoseg.open_segmenter(
            bank, encoders=encoders, resize=0, fusion="sum", memory=memory
        )
        found = opened(np.asarray(make_photo(3, "rose", "grass")))
    return found.labels, caplog.text


def test_the_memory_is_recorded(bank, memories, tmp_path):
    bank.save(tmp_path / "bank.safetensors")
    read = recoseg.ConceptBank.load(tmp_path / "bank.safetensors").settings.segment
    assert read.memory == memories[0].location
    assert read.memory_content == memories[0].content != memories[1].content
    assert changed_fields(BankSettings(), bank.settings) == [
        "k=4",
        "image_size=48",
        "prompts='none'",
        "context=()",
    ]


def test_banks_without_a_memory_are_stored_as_before(archive, encoders, bank):
    plain = recoseg.learn(archive, ["rose", "grass"], encoders=encoders, **SETTINGS)
    assert not {"memory", "memory_content"} & plain.settings.to_json()["segment"].keys()
    assert plain.fingerprint == bank.fingerprint


def test_masks_with_its_memory_without_and_with_another(bank, encoders, memories, caplog):
    _, told = masks(bank, encoders, memories[0], caplog)
    assert told == ""
    _, told = masks(bank, encoders, memories[0].location, caplog)
    assert told == ""
    without, told = masks(bank, encoders, None, caplog)
    assert f"photos are segmented without one. To use it: --memory {memories[0].location}" in told
    assert f"meant for the region memory {memories[0].location}" in told
    assert "without one" in told
    _, told = masks(bank, encoders, memories[1], caplog)
    assert f"with {memories[1].location}, which holds other regions" in told
    forgetful = replace(bank, settings=replace(bank.settings, segment=SegmentSettings()))
    expected, told = masks(forgetful, encoders, None, caplog)
    assert told == ""
    np.testing.assert_array_equal(without, expected)


def test_a_memory_of_other_encoders_is_refused_before_the_work(archive, encoders, memories):
    other = Phi(fingerprint="e" * 16)
    with pytest.raises(EncoderMismatchError, match="expected keys of fake-phi"):
        recoseg.learn(
            archive,
            ["rose"],
            encoders=replace(encoders, phi=(other,)),
            memory=memories[0],
            **SETTINGS,
        )
    assert not other.seen


def test_what_a_bank_says_of_its_memory_is_bounded():
    with pytest.raises(RecosegError, match=r"memory has 5,000 characters; expected at most 4,096"):
        SegmentSettings(memory="x" * 5000)
