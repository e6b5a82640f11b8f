"""A labelled folder, an index of its photos and a bank, made once for all tests of the command."""

import shutil

import pytest
from PIL import Image

from tests.command import Session, run

from .commands import CLASSES, FAST, SIZES, evaluate, learn, masks
from .scenes import scene


@pytest.fixture(scope="session")
def session(tmp_path_factory):
    """A labelled folder, an index of its photos, and a bank of its classes."""
    pytest.importorskip("matplotlib")
    root = tmp_path_factory.mktemp("evaluate")
    for folder in ("images/town", "masks/town"):
        (root / "data" / folder).mkdir(parents=True)
    for number, size in enumerate(SIZES):
        image, target = scene(number, *size)
        image.save(root / "data/images/town" / f"{number}.png")
        Image.fromarray(target).save(root / "data/masks/town" / f"{number}.png")
    (root / "data/classes.txt").write_text("\n".join(CLASSES), encoding="utf-8")
    indexed = run("index", root / "data/images", "--out", root / "index", *FAST)
    assert indexed.code == 0, indexed.err
    learnt = learn(root, root / "data/classes.txt", "bank")
    assert learnt.code == 0, learnt.err
    return Session(root)


@pytest.fixture(scope="session")
def written(session):
    """The label maps of the bank, in a folder as `--predictions` takes it."""
    labels = masks(session, "masks")
    shutil.copytree(session / "masks/labels", session / "predictions")
    return labels


@pytest.fixture(scope="session")
def evaluated(session):
    return evaluate(session, "--out", session / "out", "--boundary", 2)
