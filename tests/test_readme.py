"""The Python of README and of the tutorial runs, with the encoders that it names."""

import shutil

import numpy as np
import pytest
from PIL import Image

from tests.snippets import ROOT, blocks


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(page):
    names = {}
    for code in blocks(ROOT / page, "python"):
        exec(code, names)
    return names


@pytest.mark.slow
def test_readme(folder, capsys):
    """The road of README, on an archive of noise; `lite` knows nothing in it, and it runs."""
    (folder / "photos").mkdir()
    for number in range(4):
        draw = np.random.default_rng(number)
        pixels = draw.integers(0, 256, (8, 9, 3)).astype(np.uint8).repeat(20, 0).repeat(20, 1)
        Image.fromarray(pixels).save(folder / f"photos/{number}.jpg")
    shutil.copy(folder / "photos/0.jpg", folder / "photo.jpg")
    names = run("README.md")
    assert [concept.name for concept in names["bank"].classes] == ["dog", "sofa"]
    assert "(160, 180) {" in capsys.readouterr().out
    assert {"index", "pets.safetensors", "overlay.png"} <= {path.name for path in folder.iterdir()}


@pytest.mark.slow
def test_tutorial(folder, capsys):
    for package in ("skimage", "sklearn", "foolbox", "matplotlib"):
        pytest.importorskip(package)
    names = run("docs/index.md")
    printed = capsys.readouterr().out
    assert "30 photos" in printed
    assert "['dog', 'car', 'building']" in printed
    assert "2 photos, 0 failures" in printed
    building, car = names["results"]
    assert 0.15 < building.areas()["building"] < 0.3
    assert 0.15 < car.areas()["car"] < 0.35
    for result in (building, car):  # what is not the thing itself is a few specks
        assert sum(sorted(result.areas().values())[:-1]) < 0.1
    best = names["index"].path(names["found"].hits["car"][0].position)
    assert "foolbox" in best or "skimage" in best
    assert len(list((folder / "masks/labels").glob("*.png"))) == 2
    assert (folder / "figures/dog.jpg").is_file()
    assert (folder / "sheet.html").is_file()
