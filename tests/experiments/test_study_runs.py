"""Studies run together equal studies run alone, share their work, and can be continued."""

import json
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from recoseg.config import Fusion
from recoseg.evaluation.counts_file import CountsFile
from recoseg.evaluation.evaluate import evaluate
from recoseg.experiments import runner
from recoseg.experiments.runner import run_studies
from recoseg.experiments.studies import Baseline, study
from recoseg.experiments.tables import study_markdown, write_study
from recoseg.learning.feature_cache import FeatureCache
from recoseg.learning.learner import learn_bank
from recoseg.refinement.refiner import RefineSettings
from recoseg.regions.superpixels import Slic
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.voting import Voting

from .baselines import CLASSES, NATIVE, labels_of, make_dataset, make_setup, recipe_baseline


def test_rows_of_the_recipe_run_together_equal_rows_run_alone(archive, tmp_path):
    base = recipe_baseline(archive, tmp_path)
    found = study("recipe", base)
    found = replace(found, rows=tuple(row for row in found.rows if row.refine.form != "crf"))
    dataset = make_dataset(3)
    results = run_studies([found], dataset, NATIVE)
    for row in found.rows[4:]:
        encoders = row.setup.encoders
        bank = learn_bank(archive, row.classes, encoders, replace(row.settings, learn=row.learn))
        alone = bank_segmenter(
            bank,
            encoders=encoders,
            fusion=Fusion("sum"),
            voting=None if row.voting is None else Voting(Slic(20)),
            memory=row.memory,
            refine=RefineSettings(row.refine.form, 0.05),
        )
        [expected] = evaluate(dataset, NATIVE, {"x": alone})
        np.testing.assert_array_equal(results[row.key].counts, expected.counts)
    distinct = {results[row.key].counts.tobytes() for row in found.rows}
    assert len(distinct) > len(found.rows) - 3


def test_rows_run_together_equal_rows_run_alone(archive, tmp_path):
    base = Baseline((make_setup(archive), make_setup(archive, "two")), CLASSES)
    names = ("components", "renaming", "context", "block", "encoders", "seeds")
    chosen = [study(name, base) for name in names]
    chosen[-1] = replace(chosen[-1], rows=chosen[-1].rows[:3])
    dataset = make_dataset()
    found = run_studies(chosen, dataset, NATIVE)
    for one in chosen:
        for row in one.rows:
            bank = learn_bank(
                archive, row.classes, row.setup.encoders, replace(row.settings, learn=row.learn)
            )
            alone = bank_segmenter(
                bank,
                phi=row.setup.encoders.phi,
                saliency=row.setup.encoders.saliency,
                fusion=row.fusion,
                refine=row.refine,
            )
            [expected] = evaluate(dataset, NATIVE, {"x": alone})
            np.testing.assert_array_equal(found[row.key].counts, expected.counts)
            assert found[row.key].counts.sum() > 1000
    scores = {row.label: found[row.key].scores.accuracy for row in chosen[0].rows}
    assert scores["+ both"] > 0.8  # the planted colours are found; chance is a third


def test_work_is_shared(archive):
    """Each encoder encodes each archive photo and each photo of the data set once."""
    setup = make_setup(archive)
    base = Baseline((setup,), CLASSES)
    dataset = make_dataset(3)
    chosen = [study(name, base) for name in ("components", "context", "renaming", "block")]
    found = run_studies(chosen, dataset, NATIVE)
    distinct = {row.key for one in chosen for row in one.rows}
    assert len(distinct) < sum(len(one.rows) for one in chosen)  # rows are shared too
    assert set(found) == distinct
    for encoder in (*setup.encoders.phi, setup.encoders.saliency):
        assert set(encoder.seen.values()) == {1}
        assert len(encoder.seen) > 3 + 8


def test_a_cache_serves_the_next_run(archive, tmp_path):
    def run_with(cache):
        setup = make_setup(archive)
        rows = study("renaming", Baseline((setup,), CLASSES)).rows
        banks = runner.learn_banks(list(rows), cache=cache)
        return [bank.fingerprint for bank in banks.values()], setup.encoders.phi[0].seen

    cache = FeatureCache(tmp_path, 10**8, "fp32")
    first, seen = run_with(cache)
    again, seen_again = run_with(cache)
    without, _ = run_with(None)
    assert len(seen) > 0
    assert len(seen_again) == 0
    assert len(first) > 1
    assert first == again == without


def test_classes_are_learnt_once(archive, monkeypatch):
    """Banks with the same context share it; banks that differ in one class share the others."""
    calls = []
    real = runner.learn_together

    def counted(index, classes, encoders, banks, *, store):
        [bank] = banks
        calls.append(([item.name for item in classes], [c.name for c in bank.context]))
        return real(index, classes, encoders, banks, store=store)

    monkeypatch.setattr(runner, "learn_together", counted)
    base = Baseline((make_setup(archive),), CLASSES)
    rows = [*study("context", base).rows[3:], *study("renaming", base).rows]
    banks = runner.learn_banks(rows)
    assert calls == [
        (["rose", "grass", "lake"], []),
        (["rose", "grass", "lake"], []),
        (["rose", "grass", "lake"], ["sky"]),
        (["lake"], ["sky", "road"]),
    ]
    assert [c.name for c in banks[rows[-2].bank_key].classes] == ["rose", "grass", "lake"]


def test_an_interrupted_run_is_continued(archive, tmp_path):
    dataset = make_dataset(5)
    base = Baseline((make_setup(archive),), CLASSES)
    chosen = [study("block", base)]

    def recorded(**options):
        with ExitStack() as stack:

            def counts(settings):
                return stack.enter_context(CountsFile(tmp_path, settings, 3, **options))

            return run_studies(chosen, dataset, NATIVE, counts=counts)

    whole = recorded()
    lines = (tmp_path / "photos.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "photos.jsonl").write_text("".join(lines[:2]) + lines[2][:20])
    setup = base.setups[0]
    setup.encoders.phi[0].seen.clear()
    again = recorded(resume=True)
    for key, result in whole.items():
        np.testing.assert_array_equal(again[key].counts, result.counts)
    tested = {np.asarray(s.read_image()).transpose(2, 0, 1).tobytes() for s in dataset.samples}
    assert len(tested & set(setup.encoders.phi[0].seen)) == 3


def test_tables_and_plots(archive, tmp_path):
    base = Baseline((make_setup(archive),), CLASSES)
    chosen = [study(name, base) for name in ("components", "block")]
    found = run_studies(chosen, make_dataset(3), NATIVE)
    components = study_markdown(chosen[0], found)
    row = chosen[0].rows[2]
    scores = found[row.key].scores
    cells = [cell.strip() for line in components.splitlines() if "| fused" in line
             for cell in line.strip("|").split("|")]  # fmt: skip
    assert cells == [
        "fused", f"{100 * scores.accuracy:.1f}", f"{100 * scores.miou:.1f}", "41.1", "21.8",
    ]  # fmt: skip
    assert "(+ both, crf)" in components  # a published row that was not run
    assert "colours, all: 3 photos" in components
    assert "Paper" not in study_markdown(chosen[1], found)
    for one in chosen:
        assert write_study(tmp_path, one, found) is None
        with Image.open(tmp_path / f"{one.name}.png") as picture:
            assert picture.width > 400
        fields = json.loads((tmp_path / f"{one.name}.json").read_text())
        assert [line["label"] for line in fields["rows"]] == labels_of(one.rows)
        for line, row in zip(fields["rows"], one.rows, strict=True):
            assert line["scores"]["miou"] == pytest.approx(found[row.key].scores.miou)
