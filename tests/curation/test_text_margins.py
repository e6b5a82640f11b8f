"""Margins of photos for words equal those that are computed one by one."""

import numpy as np
import pytest
import torch

from recoseg.archive.index import ArchiveIndex
from recoseg.archive.selection import Selection
from recoseg.classes import parse_class
from recoseg.curation.archive_verdicts import text_margins, text_verdicts
from recoseg.curation.text_margins import CONTRASTS, PEOPLE, margin
from recoseg.curation.verdicts import Verdict
from tests.archive.conftest import make_folder
from tests.archive.fake_encoder import FakeEncoder
from tests.building import build_index


def test_margin_is_best_word_minus_best_contrast():
    generator = torch.Generator().manual_seed(0)
    words, contrasts = (torch.rand(5, n, generator=generator) for n in (3, 7))
    expected = [max(a) - max(b) for a, b in zip(words.tolist(), contrasts.tolist(), strict=True)]
    assert margin(words, contrasts).tolist() == pytest.approx(expected)


def test_margins_of_an_index(tmp_path, monkeypatch):
    encoder = FakeEncoder()
    build_index([make_folder(tmp_path / "photos", 23)], tmp_path / "index", encoder, shard_size=5)
    whole = ArchiveIndex.open(tmp_path / "index")
    index = ArchiveIndex.open(tmp_path / "index", Selection({whole.photo_id(3): "seen"}))
    monkeypatch.setattr("recoseg.curation.archive_verdicts._ROWS", 4)
    classes = [parse_class("weapon: gun; rifle; -tool box"), parse_class("animal"), PEOPLE]
    found = text_margins(index, encoder, classes, "none")
    rows = whole.embeddings(range(23)).double()
    for item, scores in zip(classes, found, strict=True):
        own = encoder.embed_texts(item.prompts).double()
        common = [word for word in CONTRASTS if word not in item.prompts]
        others = encoder.embed_texts([*item.negatives, *common]).double()
        expected = (rows @ own.T).max(1).values - (rows @ others.T).max(1).values
        assert scores == pytest.approx(expected.numpy(), abs=1e-5)
    people, weapon = text_verdicts(
        [PEOPLE, classes[0]], found[[2, 0]], {"people": -1.0, "unwanted": 2.0}
    )
    assert (people.reason, weapon.reason) == ("people", "unwanted: weapon")
    assert people.is_out.sum() == (found[2] > -1).sum() > 0
    assert not weapon.is_out.any()


def test_the_words_have_no_contrast_among_them():
    assert not {*PEOPLE.prompts} & {*CONTRASTS}


def test_what_is_near_a_limit_from_either_side():
    scores = np.array([5, 1, 3, np.nan, 2.5], np.float32)
    low = Verdict.below("tiny", "tiny", scores, 3)
    assert low.is_out.tolist() == [False, True, False, False, True]
    assert low.doubtful(low.is_out, 9).tolist() == [4, 1]
    assert low.doubtful(~low.is_out, 1).tolist() == [2]
    spared = low.sparing(np.array([False, True, False, False, False]))
    assert spared.is_out.tolist() == [False, False, False, False, True]
