"""Studies have the expected rows, and running them together does not change the results."""

import json
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from recoseg.classes import ClassNames
from recoseg.config import BankSettings, Fusion, LearnSettings, SegmentSettings
from recoseg.datasets.sample import Sample, SegmentationDataset
from recoseg.datasets.spaces import class_lines, label_space, space_of
from recoseg.errors import UnknownNameError
from recoseg.evaluation.counts_file import CountsFile
from recoseg.evaluation.evaluate import evaluate
from recoseg.evaluation.protocols import protocol_of
from recoseg.experiments import runner
from recoseg.experiments.runner import run_studies
from recoseg.experiments.studies import STUDIES, Baseline, published, studies_named, study
from recoseg.experiments.study import Setup
from recoseg.experiments.tables import study_markdown, write_study
from recoseg.learning.feature_cache import FeatureCache
from recoseg.learning.learner import learn_bank
from recoseg.refinement.refiner import RefineSettings
from recoseg.regions.superpixels import Slic
from recoseg.segmentation.bank_segmenter import bank_segmenter
from recoseg.segmentation.voting import Voting

from ..learning.fakes import COLOURS, SIZE, Phi, make_archive, make_encoders, make_photo
from ..segmentation.test_memory_branch import make_memory

CLASSES = (
    ClassNames("rose", ("rose",)),
    ClassNames("grass", ("grass",)),
    ClassNames("lake", ("sea",)),
)
NATIVE = protocol_of("native", "colours")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), make_encoders().retrieval)


def make_setup(archive, name="one"):
    settings = BankSettings(
        LearnSettings(k=4, image_size=SIZE, prompts="none", context=("sky", "road")),
        SegmentSettings(Fusion(), short_side=0, refine_temperature=0.05),
    )
    return Setup(archive, make_encoders(), settings, name)


def make_dataset(photos=5):
    """Photos of two classes each; the ground truth of a pixel is the class of similar colour."""
    samples = []
    for number in range(photos):
        image = make_photo(200 + number, "rose", "grass" if number % 2 else "sea")
        pixels = np.asarray(image).astype(float)
        target = np.full(pixels.shape[:2], 255, np.uint8)
        for label, name in enumerate(("rose", "grass", "sea")):
            target[np.abs(pixels - COLOURS[name]).max(-1) < 60] = label
        samples.append(Sample(f"photo{number}", lambda i=image: i, lambda t=target: t))
    space = space_of("colours", "Colours", CLASSES)
    return SegmentationDataset("colours", "all", space, tuple(samples))


def labels_of(rows):
    return [row.label for row in rows]


def test_components_are_those_of_the_paper(archive):
    rows = study("components", Baseline((make_setup(archive),), CLASSES, ("pamr", "crf"))).rows
    parts = [
        (r.label, r.fusion.form, r.learn.guidance, r.learn.context, r.refine.form) for r in rows
    ]
    both = ("sky", "road")
    assert parts == [
        ("phi alone", "visual", False, (), "none"),
        ("dense text alone", "text", False, (), "none"),
        ("fused", "product", False, (), "none"),
        ("+ guidance", "product", True, (), "none"),
        ("+ context", "product", False, both, "none"),
        ("+ both", "product", True, both, "none"),
        ("+ both, pamr", "product", True, both, "pamr"),
        ("+ both, crf", "product", True, both, "crf"),
    ]


def test_context_grows_by_one(archive):
    setup = make_setup(archive)
    learnt = replace(setup.settings.learn, context=("sky", "tree: oak; elm"))
    setup = replace(setup, settings=replace(setup.settings, learn=learnt))
    rows = study("context", Baseline((setup,), CLASSES)).rows
    assert labels_of(rows) == [
        "none", "sky", "sky, tree", "none, fused", "sky, fused", "sky, tree, fused",
    ]  # fmt: skip
    assert [row.learn.context for row in rows[:3]] == [(), ("sky",), ("sky", "tree: oak; elm")]
    assert {row.fusion.form for row in rows[:3]} == {"visual"}
    assert {row.fusion.form for row in rows[3:]} == {"product"}


def test_renaming_takes_each_class_alone_and_all(archive):
    words = class_lines(label_space("cityscapes27"))
    rows = study("renaming", Baseline((make_setup(archive),), tuple(words))).rows
    assert labels_of(rows) == ["names as they are", "parking", "vegetation", "all renamed"]
    said = [{item.name: item.prompts for item in row.classes} for row in rows]
    renamed = {"parking": ("parking lot",), "vegetation": ("tree",)}
    for place, changed in enumerate([(), ("parking",), ("vegetation",), tuple(renamed)]):
        assert said[place] == {
            item.name: renamed[item.name] if item.name in changed else (item.name,)
            for item in words
        }


def test_nothing_to_rename_leaves_one_row(archive):
    bare = tuple(ClassNames(name, (name,)) for name in ("rose", "grass"))
    rows = study("renaming", Baseline((make_setup(archive),), bare)).rows
    assert labels_of(rows) == ["names as they are"]


@pytest.mark.parametrize("name", list(STUDIES))
def test_each_published_row_has_a_row_here(archive, name):
    """Every published number has a row, except for encoders that are not available here."""
    setups = (make_setup(archive), make_setup(archive, "two"))
    learnt = replace(
        setups[0].settings.learn, context=("tree", "sky", "building", "road", "person")
    )
    setups = tuple(replace(s, settings=replace(s.settings, learn=learnt)) for s in setups)
    words = tuple(class_lines(label_space("cityscapes27")))
    found = study(name, Baseline(setups, words, ("pamr", "crf")))
    assert (len(found.published) > 0) == (name not in ("block", "recipe"))
    if name != "encoders":
        assert {row.label for row in found.published} <= set(labels_of(found.rows))
    assert len({row.key for row in found.rows}) == len(found.rows)


def test_published_numbers_are_the_paper_s():
    """Facts of the paper and its supplement."""
    parts = {
        row["label"]: (row.get("accuracy"), row["miou"]) for row in published("components")["rows"]
    }
    assert parts["fused"] == (41.1, 21.8)
    assert parts["+ both, crf"] == (51.6, 27.2)
    assert [row["miou"] for row in published("seeds")["rows"]] == [22.0, 22.2, 22.1, 21.7, 20.4]
    assert [row["miou"] for row in published("renaming")["rows"]] == [15.4, 16.0, 18.6, 19.3]
    assert published("block") == {}


def recipe_baseline(archive, root, fusion="sum"):
    """All that the study of the recipe can use: two phi, regions and a memory of the first phi."""
    setup = make_setup(archive)
    segment = replace(setup.settings.segment, fusion=Fusion(fusion))
    setup = replace(setup, settings=replace(setup.settings, segment=segment))
    encoders = replace(setup.encoders, phi=(*setup.encoders.phi, Phi("d" * 16, stride=12)))
    memory = make_memory(root, setup.encoders.info.phi, [setup.encoders.saliency.info])
    return Baseline(
        (setup,),
        CLASSES,
        ("pamr", "crf"),
        together=replace(setup, encoders=encoders, name="both"),
        voting=Voting(Slic(20)),
        memory=memory,
    )


def test_the_recipe_grows_by_one_idea_a_row(archive, tmp_path):
    base = recipe_baseline(archive, tmp_path, "product")
    found = study("recipe", base)
    clusters, seeds, voting, memory = "clusters", "", base.voting, base.memory
    assert [
        (
            *(row.label, len(row.setup.encoders.phi), row.learn.regions, row.learn.mend_outliers),
            *(row.fusion.form, row.voting, row.memory, row.refine.form),
        )
        for row in found.rows
    ] == [
        ("phi alone", 1, seeds, False, "visual", None, None, "none"),
        ("as published", 1, seeds, False, "product", None, None, "none"),
        ("aside: outliers of phi mended", 1, seeds, True, "product", None, None, "none"),
        ("+ regions in learning", 1, clusters, False, "product", None, None, "none"),
        ("+ all phi in one bank", 2, clusters, False, "product", None, None, "none"),
        ("+ vote of regions", 2, clusters, False, "product", voting, None, "none"),
        ("scores added, as a memory needs it", 2, clusters, False, "sum", voting, None, "none"),
        ("+ memory", 2, clusters, False, "sum", voting, memory, "none"),
        ("+ LPOSS", 2, clusters, False, "sum", voting, memory, "lposs"),
        ("lposs+ instead of LPOSS", 2, clusters, False, "sum", voting, memory, "lposs+"),
        ("pamr instead of LPOSS", 2, clusters, False, "sum", voting, memory, "pamr"),
        ("crf instead of LPOSS", 2, clusters, False, "sum", voting, memory, "crf"),
    ]
    assert found.notes == ()
    assert len({row.key for row in found.rows}) == len(found.rows)
    added = study("recipe", replace(base, together=None)).rows
    assert {row.setup for row in added} == {base.setups[0]}


def test_the_recipe_says_what_it_leaves_out(archive, tmp_path):
    """Also where the defaults of the encoders are not the published ones."""
    setup = make_setup(archive)
    learn = replace(setup.settings.learn, regions="clusters:4", mend_outliers=True)
    setup = replace(setup, settings=replace(setup.settings, learn=learn))
    found = study("recipe", Baseline((setup,), CLASSES, ()))
    assert labels_of(found.rows) == [
        "phi alone", "as published", "aside: outliers of phi mended", "+ regions in learning",
        "+ LPOSS", "lposs+ instead of LPOSS",
    ]  # fmt: skip
    assert [row.learn.mend_outliers for row in found.rows] == [False, False, True, *3 * [False]]
    assert found.rows[1].learn.regions == ""
    assert found.notes == (
        "Left out: + all phi in one bank. It needs a second phi (--phi).",
        "Left out: + vote of regions. It needs regions (--regions).",
        "Left out: + memory. It needs a region memory (--memory).",
    )
    small = replace(found, rows=found.rows[1:2])
    results = run_studies([small], make_dataset(1), NATIVE)
    lines = "".join(f"- {note}\n" for note in found.notes)
    assert study_markdown(small, results).endswith("\n\n" + lines)
    write_study(tmp_path, small, results)
    fields = json.loads((tmp_path / "recipe.json").read_text())
    assert fields["notes"] == list(found.notes)


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


def test_all_are_the_tables_of_the_paper():
    assert studies_named(["all"]) == [name for name in STUDIES if name != "recipe"]
    assert studies_named(["recipe", "k", "recipe"]) == ["recipe", "k"]
    with pytest.raises(UnknownNameError, match=r"Valid: components, .*, recipe, retrieval, all"):
        studies_named(["colour"])


def test_an_unknown_study_lists_the_valid_ones(archive):
    with pytest.raises(UnknownNameError, match=r"components, context, .*, retrieval"):
        study("colour", Baseline((make_setup(archive),), CLASSES))


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
