"""Figures of classes: one file per class, for any name."""

import json
from dataclasses import replace

import pytest
import torch
from PIL import Image

from recoseg.classes import ClassNames, parse_class
from recoseg.errors import OutputError
from recoseg.learning.figure_folder import FigureWriter
from recoseg.learning.learner import learn_bank

from .fakes import (
    SIZE,
    Retrieval,
    make_archive,
    make_encoders,
    settings,
)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    return make_archive(tmp_path_factory.mktemp("archive"), Retrieval())


NAMES = ["a/b", "été", "a:b", "road", "context-sky", "Rose <3", "..", "x" * 300, "a_b-2"]


def test_figures_of_classes_and_context(index, tmp_path):
    folder = tmp_path / "deep" / "figures"
    figures = FigureWriter(index, folder, SIZE)
    seen = []

    def callback(learnt):
        figures(learnt)
        seen.append(learnt.concept)

    classes = [parse_class("a;b" if ":" in name else f"{name}: rose") for name in NAMES]
    with figures:
        learn_bank(
            index,
            classes,
            make_encoders(),
            settings(),
            callback=callback,
        )
    files = [figures.path(concept) for concept in seen]
    assert len(seen) == len(NAMES) + 2  # two of context; the road, which is shared, has one too
    assert len(set(files)) == len(files) == len(list(folder.glob("*.jpg")))
    by_name = {(item.role, item.name): path.name for item, path in zip(seen, files, strict=True)}
    assert by_name["context", "sky"] == "context-sky.jpg"
    assert by_name["class", "été"] == "été.jpg"
    assert by_name["class", "a/b"] == "a_b.jpg"
    assert by_name["class", "context-sky"] != "context-sky.jpg"
    for path in files:
        assert path.parent == folder
        with Image.open(path) as image:
            assert image.format == "JPEG"
            assert image.width > 4 * 224  # four photos side by side


@pytest.mark.parametrize("recipe", ["regions", "paper"])
def test_classes_that_share_the_photos_of_context_are_shown_as_that_was_learnt(index, recipe):
    """Also if the context class was learnt before, with the bank that the class is added to."""
    chosen = replace(settings(context=("sky", "road")), recipe=recipe)
    seen = []
    bank = learn_bank(index, [], make_encoders(), chosen, callback=seen.append)
    [_, road] = seen
    added = learn_bank(
        index, [parse_class("street: road")], make_encoders(), bank=bank, callback=seen.append
    )
    [street] = seen[2:]
    assert street.concept is added.classes[0]
    assert street.concept.name == "street"
    assert street.positions == road.positions
    for name in ("support", "seeds", "reference"):
        found, expected = (getattr(one.cosegmentation, name) for one in (street, road))
        assert torch.equal(found, expected)
    # Without the photos that it was learnt from, nothing is shown in their place.
    bare = index.without({photo.photo_id: "" for photo in road.concept.retrieved})
    seen.clear()
    learn_bank(
        bare, [parse_class("street: road")], make_encoders(), bank=bank, callback=seen.append
    )
    assert not seen


def test_a_second_run_replaces_its_own_figures_only(index, tmp_path):
    def draw(name, **options):
        with FigureWriter(index, tmp_path, SIZE, **options) as figures:
            words = [parse_class(f"{name}: rose")]
            learn_bank(index, words, make_encoders(), settings(), callback=figures)

    (tmp_path / "rose.jpg").write_bytes(b"mine")
    draw("rose")
    assert (tmp_path / "rose-2.jpg").is_file()
    with pytest.raises(OutputError, match=r"figures of an earlier run.*--overwrite"):
        draw("tulip")
    draw("tulip", overwrite=True)
    assert (tmp_path / "rose.jpg").read_bytes() == b"mine"
    names = {path.name for path in tmp_path.glob("*.jpg") if "context" not in path.name}
    assert names == {"rose.jpg", "tulip.jpg"}


def test_names_with_signs_and_markup(index, tmp_path):
    name = "a\u202e<script>|"
    with FigureWriter(index, tmp_path, SIZE) as figures:
        words = [ClassNames(name, ("rose",))]
        learn_bank(index, words, make_encoders(), settings(), callback=figures)
    [path] = [path for path in tmp_path.glob("*.jpg") if "context" not in path.name]
    assert path.name.isprintable()


def test_classes_that_are_added_leave_the_figures_of_others(index, tmp_path):
    def draw(names, **options):
        with FigureWriter(index, tmp_path / "figures", SIZE, **options) as figures:
            lines = [parse_class(name) for name in names]
            learn_bank(index, lines, make_encoders(), settings(context=()), callback=figures)
        found = (tmp_path / "figures").glob("*.jpg")
        return {path.name: path.stat().st_mtime_ns for path in found}

    before = draw(["rose", "lake: sea"])
    lines = (tmp_path / "figures/figures.jsonl").read_text().splitlines()
    rose = next(line for line in map(json.loads, lines) if line["class"] == "rose")
    for photo in rose["photos"]:  # red patches of the colour of roses
        [(x, y)] = photo["seeds"]
        red, green, blue = Image.open(photo["path"]).convert("RGB").getpixel((x, y))
        assert red > green
        assert red > blue
    with pytest.raises(OutputError, match="Replace them with --overwrite, or write"):
        draw(["rose"])
    after = draw(["rose", "grass"], update=True)
    assert after.keys() == {"rose.jpg", "lake.jpg", "grass.jpg"}
    assert after["lake.jpg"] == before["lake.jpg"]
    assert after["rose.jpg"] > before["rose.jpg"]
    assert draw(["grass"], overwrite=True).keys() == {"grass.jpg"}
