"""Masks: the number in the file is the label, whatever decoders make of it."""

import json
import unicodedata

import numpy as np
import pytest
from PIL import Image

from recoseg.training.training_set import in_folders
from tests.command import run

from .making import data_set, grey_png, labels, mask, photo


def score(root, out, predictions=None):
    """The result of `recoseg evaluate` on label maps, and the IoU of each class that occurs."""
    done = run(
        *("evaluate", "--dataset", "folder", "--root", root, "--out", out),
        *("--predictions", predictions or root / "masks"),
    )
    if done.code:
        return done, {}
    found = json.loads((out / "evaluation.json").read_text())
    classes = found["scores"]["classes"]
    return done, {item["name"]: item["iou"] for item in classes if item["iou"] is not None}


def test_numbers_of_few_bits(tmp_path):
    names = [f"{bits}.png" for bits in (8, 4, 2, 1)]
    classes = ["tree", "car", *(f"thing {number}" for number in range(2, 21))]
    root = data_set(tmp_path / "data", names, classes)
    (tmp_path / "maps").mkdir()
    for bits, name in zip((8, 4, 2, 1), names, strict=True):
        (root / "masks" / name).write_bytes(grey_png(labels(), bits))
        Image.fromarray(labels()).save(tmp_path / "maps" / name)
    done, scores = score(root, tmp_path / "out", tmp_path / "maps")
    assert scores == {"tree": 1, "car": 1}, done.err
    for pair in in_folders(root / "images", root / "masks").photos:
        np.testing.assert_array_equal(pair.read()[1], labels())


def test_predictions_of_few_bits(tmp_path):
    root = data_set(tmp_path / "data", ["a.png"], ["tree", "car", *map(str, range(19))])
    mask(root, "a.png")
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "a.PNG").write_bytes(grey_png(labels(), 4))
    assert score(root, tmp_path / "out", tmp_path / "maps")[1] == {"tree": 1, "car": 1}


def test_forms_of_masks(tmp_path):
    grey = Image.fromarray(labels())
    full = Image.new("L", grey.size, 255)
    coloured = grey.copy()
    coloured.putpalette([200, 0, 0, 0, 200, 0] + [0] * 762)
    forms = {
        "grey": grey,
        "palette": coloured,
        "grey with alpha": Image.merge("LA", (grey, full)),
        "three equal": Image.merge("RGB", (grey,) * 3),
        "four": Image.merge("RGBA", (grey, grey, grey, full)),
        "16 bits": Image.fromarray(labels().astype(np.uint16)),
        "1 bit": Image.fromarray(labels().astype(bool)),
        "colours": coloured.convert("RGB"),
    }
    root = data_set(tmp_path / "data", [f"{name}.png" for name in (*forms, "clear", "lossy")])
    (tmp_path / "maps").mkdir()
    for name, image in forms.items():
        image.save(root / "masks" / f"{name}.png")
    coloured.save(root / "masks" / "clear.png", transparency=0)
    grey.save(root / "masks" / "lossy.png", "JPEG")
    for name in (*forms, "clear", "lossy"):
        grey.save(tmp_path / "maps" / f"{name}.png")
    done, scores = score(root, tmp_path / "out", tmp_path / "maps")
    assert (done.code, scores) == (0, {"tree": 1, "car": 1}), done.err
    left_out = [line for line in done.err.splitlines() if line.startswith("Left out")]
    assert len(left_out) == 2
    assert "colours: its mask has an array of shape (40, 56, 3)" in left_out[0]
    assert "lossy: its mask is not a PNG, BMP or TIFF file" in left_out[1]


def test_black_and_white_masks(tmp_path, caplog):
    root = data_set(tmp_path / "data", ["a.png", "b.png"])
    for name in ("a.png", "b.png"):
        mask(root, name, labels() * 255)
    done, scores = score(root, tmp_path / "out")
    assert (done.code, scores) == (0, {"tree": 1})
    assert "write 1 instead of 255" in caplog.text


def test_a_mask_of_the_photo_as_the_sensor_wrote_it(tmp_path):
    root = data_set(tmp_path / "data")
    exif = Image.Exif()
    exif[0x0112] = 6
    for name in ("upright", "sensor"):
        photo(root / "images" / f"{name}.jpg", exif=exif)
    mask(root, "upright.png", labels(56, 40))
    mask(root, "sensor.png", labels(40, 56))
    done, scores = score(root, tmp_path / "out")
    assert (done.code, scores) == (0, {"tree": 1, "car": 1})
    assert "sensor: its mask is 40 x 56 pixels" in done.err
    assert "Is the photo turned by its EXIF tag, and the mask not?" in done.err


def test_names_of_a_mac_and_of_linux(tmp_path):
    names = ("caf\u00e9", "M\u00fcnchen")
    root = data_set(tmp_path / "data", [unicodedata.normalize("NFD", f"{n}.png") for n in names])
    for name in names:
        mask(root, unicodedata.normalize("NFC", f"{name}.png"))
    done, scores = score(root, tmp_path / "out")
    assert (done.code, scores) == (0, {"tree": 1, "car": 1})
    images = json.loads((tmp_path / "out" / "evaluation.json").read_text())["images"]
    assert len(images) == 2


def test_folders_of_notebooks_are_no_photos(tmp_path):
    root = data_set(tmp_path / "data", ["a.png", ".ipynb_checkpoints/a-checkpoint.png"])
    mask(root, "a.png")
    done, scores = score(root, tmp_path / "out")
    assert (done.code, scores) == (0, {"tree": 1, "car": 1}), done.err


@pytest.mark.parametrize("is_used", [True, False])
def test_suffixes_of_pairs(tmp_path, is_used):
    suffixes = (".jpg", ".JPG", ".jpeg", ".bmp", ".tif", ".webp")
    root = data_set(tmp_path / "data", [f"p{i}{suffix}" for i, suffix in enumerate(suffixes)])
    for number in range(6 if is_used else 5):
        mask(root, f"p{number}{'.PNG' if number == 1 else '.png'}")
    done, scores = score(root, tmp_path / "out")
    if is_used:
        assert (done.code, scores) == (0, {"tree": 1, "car": 1})
        assert "Evaluating: 6 images" in done.err
    else:
        assert done.code == 1
        assert "1 of 6 have no mask: p5." in done.err
