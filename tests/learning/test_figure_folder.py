"""Figures of classes: one file per class, for any name."""

import pytest
from PIL import Image

from recoseg.classes import parse_class
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

    learn_bank(
        index,
        [parse_class(f"{name}: rose") if ":" not in name else parse_class("a;b") for name in NAMES],
        make_encoders(),
        settings(),
        callback=callback,
    )
    files = [figures.path(concept) for concept in seen]
    assert len(seen) == len(NAMES) + 1  # two of context, and the road is shared
    assert len(set(files)) == len(files) == len(list(folder.iterdir()))
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
