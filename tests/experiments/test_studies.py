"""Studies have the expected rows, and say what they leave out."""

import json
from dataclasses import replace

import pytest

from recoseg.classes import ClassNames
from recoseg.datasets.spaces import class_lines, label_space
from recoseg.errors import UnknownNameError
from recoseg.experiments.runner import run_studies
from recoseg.experiments.studies import STUDIES, Baseline, published, studies_named, study
from recoseg.experiments.tables import study_markdown, write_study

from .baselines import CLASSES, NATIVE, labels_of, make_dataset, make_setup, recipe_baseline


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


def test_all_are_the_tables_of_the_paper():
    assert studies_named(["all"]) == [name for name in STUDIES if name != "recipe"]
    assert studies_named(["recipe", "k", "recipe"]) == ["recipe", "k"]
    with pytest.raises(UnknownNameError, match=r"Valid: components, .*, recipe, retrieval, all"):
        studies_named(["colour"])


def test_an_unknown_study_lists_the_valid_ones(archive):
    with pytest.raises(UnknownNameError, match=r"components, context, .*, retrieval"):
        study("colour", Baseline((make_setup(archive),), CLASSES))
