"""Photos, an index of them and a bank, made once by the command line for all tests of it."""

import importlib.metadata
import shutil
from pathlib import Path

import pytest

from tests.command import Session, run

PHOTOS = {"00": "dog", "16": "Dalmatian", "06": "jeep", "07": "jeep too", "14": "bird", "11": "été"}


@pytest.fixture(scope="session")
def session(tmp_path_factory):
    """Photos, an index of them, and a bank of two classes."""
    pytest.importorskip("foolbox")
    root = tmp_path_factory.mktemp("cli")
    package = importlib.metadata.distribution("foolbox")
    folder = Path(str(package.locate_file("foolbox/data")))
    (root / "photos").mkdir()
    for number, name in PHOTOS.items():
        [source] = folder.glob(f"imagenet_{number}_*.jpg")
        shutil.copy(source, root / "photos" / f"{name}.jpg")
    (root / "photos" / "broken.jpg").write_bytes(b"no photo")
    (root / "classes.txt").write_text("dog\ncar: car; jeep; -bicycle\n", encoding="utf-8")
    (root / "more.txt").write_text("bird\n", encoding="utf-8")
    indexed = run("index", root / "photos", "--out", root / "index", "--precision", "fp32")
    assert indexed.code == 0, indexed.err
    learnt = run(
        *("learn", root / "index", "--classes", root / "classes.txt"),
        *("--out", root / "bank.safetensors", "--figures", root / "figures"),
        *("-k", 2, "--context", "sky,road", "--image-size", 160, "--precision", "fp32"),
    )
    assert learnt.code == 0, learnt.err
    assert "(classes: 2)" in learnt.out
    return Session(root)
