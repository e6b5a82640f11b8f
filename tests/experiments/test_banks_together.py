"""Banks that are learnt together or from each other's classes equal those learnt alone."""

from dataclasses import replace

import pytest

from recoseg.classes import ClassNames
from recoseg.cosegmentation import affinity
from recoseg.experiments import runner
from recoseg.experiments.runner import learn_banks
from recoseg.experiments.studies import Baseline, study
from recoseg.learning.learner import learn_bank
from tests.experiments.baselines import CLASSES, make_setup

from ..learning.fakes import make_archive, make_encoders
from ..learning.same import assert_same_banks


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), make_encoders().retrieval)


def rows_of(archive, *names):
    base = Baseline((make_setup(archive),), CLASSES)
    rows = [row for name in names for row in study(name, base).rows]
    return [row for row in rows if row.learn.seeds_per_image <= 10]  # of 36 patches


@pytest.mark.parametrize("names", [("seeds", "block"), ("context", "seeds", "block", "renaming")])
def test_banks_learnt_together_equal_those_learnt_alone(archive, names):
    rows = rows_of(archive, *names)
    banks = learn_banks(rows)
    assert list(banks) == list(dict.fromkeys(row.bank_key for row in rows))
    for row in rows:
        settings = replace(row.settings, learn=row.learn)
        alone = learn_bank(archive, row.classes, row.setup.encoders, settings)
        assert_same_banks(banks[row.bank_key], alone)


def test_patches_are_compared_once_for_all_numbers_of_seeds(archive, monkeypatch):
    compared = []
    real = affinity._products

    def counted(*operands):
        compared.append(operands)
        return real(*operands)

    monkeypatch.setattr(affinity, "_products", counted)
    rows = rows_of(archive, "seeds", "block")
    learn_banks(rows[:1])
    of_one = len(compared)
    assert of_one > 0
    learn_banks(rows)
    assert len(compared) == 2 * of_one


def test_only_what_is_alike_is_learnt_together(archive, monkeypatch):
    groups = []
    real = runner.learn_together

    def noted(index, classes, encoders, banks, *, store):
        groups.append([bank.settings.learn.seeds_per_image for bank in banks])
        return real(index, classes, encoders, banks, store=store)

    monkeypatch.setattr(runner, "learn_together", noted)
    [one, five, ten] = rows_of(archive, "seeds")
    fewer, learn = CLASSES[:2], replace(five.learn, k=3)
    rows = [one, replace(five, classes=fewer), ten, replace(five, learn=learn), five]
    banks = learn_banks(rows)
    assert groups == [[1, 10, 5], [5], [5]]
    assert list(banks) == [row.bank_key for row in rows]


def test_a_bank_whose_classes_are_all_learnt_already(archive):
    """Where each of two renamed classes is also renamed alone, nothing is left for the last row."""
    lawn, rose, lake = (
        ClassNames(name, (word,)) for name, word in
        (("lawn", "grass"), ("rose", "rose"), ("lake", "sea"))
    )  # fmt: skip
    rows = study("renaming", Baseline((make_setup(archive),), (lawn, rose, lake))).rows
    assert [row.label for row in rows] == ["names as they are", "lawn", "lake", "all renamed"]
    last = learn_banks(rows)[rows[-1].bank_key]
    alone = learn_bank(archive, rows[-1].classes, rows[-1].setup.encoders, last.settings)
    assert_same_banks(last, alone)
