"""As many photos per class as stand out."""

from types import SimpleNamespace

import pytest

import recoseg
from recoseg.classes import parse_classes
from recoseg.encoders.defaults import default_settings
from recoseg.errors import RecosegError
from recoseg.evidence import LEAST_ARCHIVE
from recoseg.learning import learner
from recoseg.pipeline.learn_settings import LEAST_K, check_settings, settings_given
from recoseg.retrieval.spread import Spread
from tests.command import run
from tests.learning.fakes import SIZE, Retrieval, make_archive, make_encoders, settings


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


def learn(index, monkeypatch, spread, **changes):
    monkeypatch.setattr(learner, "measure", lambda *_: spread)
    bank = learner.learn_bank(
        index, parse_classes(["rose", "sea"]), make_encoders(), settings(context=(), **changes)
    )
    return [[photo.path for photo in concept.retrieved] for concept in bank.classes]


def test_each_class_is_learnt_from_the_photos_that_stand_out(index, monkeypatch):
    whole = learn(index, monkeypatch, None, k=4)
    assert [len(paths) for paths in whole] == [4, 4]
    bank = learner.learn_bank(
        index, parse_classes(["rose", "sea"]), make_encoders(), settings(context=(), k=4)
    )
    scores = [photo.score for photo in bank.classes[0].retrieved]
    assert scores[2] > scores[3]
    step = 0.001
    # Three photos of the first class stand out, the third just so; no photo of the other does.
    spread = Spread(LEAST_ARCHIVE, (scores[2] - 7 * step - 1e-6, 2.0), step)
    for least, count in ((1, 3), (4, 4)):
        found = learn(index, monkeypatch, spread, k=4, least_k=least)
        assert [len(paths) for paths in found] == [count, 4]
        assert [paths[: len(own)] for paths, own in zip(whole, found, strict=True)] == found


def test_nothing_is_left_out_where_nothing_can_be_told(index, monkeypatch):
    small = Spread(LEAST_ARCHIVE - 1, (2.0, 2.0), 0.01)
    alike = Spread(LEAST_ARCHIVE, (2.0, 2.0), 0.0)
    for spread in (None, small, alike):
        assert [len(x) for x in learn(index, monkeypatch, spread, k=4, least_k=1)] == [4, 4]
    usual = Spread(LEAST_ARCHIVE, (2.0, 2.0), 0.01)
    assert [len(x) for x in learn(index, monkeypatch, usual, k=4)] == [4, 4]  # least_k is 0


def test_auto_is_an_own_setting():
    assert settings_given({"k": "auto"}) == {"least_k": LEAST_K}
    assert settings_given({"k": "auto", "least_k": 5}) == {"least_k": 5}
    assert settings_given({"k": 7}) == {"k": 7, "least_k": 0}
    assert settings_given({"k": None}) == {}
    with pytest.raises(RecosegError, match="k is 'many'; expected a number, such as 50, or 'auto'"):
        settings_given({"k": "many"})


def test_a_bank_keeps_its_choice_of_k(index):
    options = {"image_size": SIZE, "prompts": "none", "context": ()}
    bank = recoseg.learn(index, ["rose"], encoders=make_encoders(), k="auto", **options)
    assert (bank.settings.learn.k, bank.settings.learn.least_k) == (50, LEAST_K)
    check_settings(bank, settings_given({"k": "auto"}))
    with pytest.raises(RecosegError, match=f"least_k is {LEAST_K} there"):
        check_settings(bank, settings_given({"k": 50}))
    plain = SimpleNamespace(settings=settings(k=50))
    check_settings(plain, settings_given({"k": 50}))


@pytest.mark.parametrize("name", ["paper", "regions"])
def test_recipes_learn_from_50_photos_of_each_class(name):
    encoders = make_encoders()
    chosen = default_settings(encoders.saliency.info, encoders.info.phi, name).learn
    assert (chosen.k, chosen.least_k) == (50, 0)


def test_other_words_for_k_are_refused(tmp_path):
    found = run(
        *("learn", tmp_path, "--classes", "dog", "--out", tmp_path / "b.safetensors", "-k", "all")
    )
    assert found.code != 0
    assert "-k is 'all'; expected a number of photos, such as 50, or auto" in " ".join(
        (found.err + found.out).split()
    )
