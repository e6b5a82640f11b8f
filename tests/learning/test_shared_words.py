"""Classes that share words with context classes are learnt from what they are about."""

import logging
from dataclasses import replace

import pytest
import torch

from recoseg.classes import parse_classes
from recoseg.learning.learner import learn_bank
from tests.banks import references_of

from .fakes import Retrieval, make_archive, make_encoders, settings

LOG = "recoseg.learning.context"


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


def learn(index, line, context, recipe="regions"):
    chosen = replace(settings(context=context, guidance=False), recipe=recipe)
    return learn_bank(index, parse_classes([line]), make_encoders(), chosen)


@pytest.mark.parametrize("line", ["sky: sky; sea", "sea: sky; sea", "heaven: Sky; sea"])
def test_shared_context_is_not_eliminated(index, line, caplog):
    with caplog.at_level(logging.WARNING, LOG):
        bank = learn(index, line, ("sky",))
    [record] = caplog.records
    assert "not eliminated from its photos: sky." in record.getMessage()
    alone = learn(index, line, ())
    assert torch.equal(references_of(bank.classes[0]), references_of(alone.classes[0]))
    assert bank.classes[0].retrieved == alone.classes[0].retrieved


def test_other_context_is_eliminated_without_a_note(index, caplog):
    with caplog.at_level(logging.WARNING, LOG):
        bank = learn(index, "grass", ("sky",))
        paper = learn(index, "grass", ("sky",), "paper")
        alone = learn(index, "grass", ())
    assert not caplog.records
    assert torch.equal(references_of(bank.classes[0]), references_of(paper.classes[0]))
    assert not torch.equal(references_of(bank.classes[0]), references_of(alone.classes[0]))


def test_the_published_recipe_eliminates_all_context(index, caplog):
    with caplog.at_level(logging.WARNING, LOG):
        shared = learn(index, "sky: sky; sea", ("sky",), "paper")
        partly = learn(index, "sea: sky; sea", ("sky",), "paper")
    assert not caplog.records
    assert torch.equal(*map(references_of, shared.concepts))
    alone = learn(index, "sea: sky; sea", (), "paper")
    assert not torch.equal(references_of(partly.classes[0]), references_of(alone.classes[0]))


@pytest.mark.parametrize("recipe", ["regions", "paper"])
def test_the_same_words_share_references(index, recipe):
    bank = learn(index, "heaven: sky", ("sky",), recipe)
    assert torch.equal(*map(references_of, bank.concepts))
