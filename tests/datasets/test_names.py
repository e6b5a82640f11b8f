"""Which files of a folder are photos and masks, and which of them belong together."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recoseg.datasets.folders import open_folder
from recoseg.errors import BadImageError, DatasetError
from recoseg.evaluation.prediction_folder import PredictionFolder
from recoseg.evaluation.protocols import protocol_of
from recoseg.photos.load import scaled
from recoseg.photos.refs import Photo
from recoseg.photos.sources import list_sources
from recoseg.training.training_set import in_folders


def in_folders_of(root, photos, masks):
    values = np.zeros((6, 8), np.uint8)
    for place, names in (("images", photos), ("masks", masks)):
        for name in names:
            path = root / place / name
            path.parent.mkdir(parents=True, exist_ok=True)
            image = Image.fromarray(values if place == "masks" else np.stack([values] * 3, -1))
            image.save(path)
    (root / "classes.txt").write_text("dog\ncar\n")
    return root


ACCENTS = ("caf\u00e9", "M\u00fcnchen")


@pytest.mark.parametrize("forms", [("NFD", "NFC"), ("NFC", "NFD"), ("NFD", "NFD")])
def test_names_that_look_equal_are_equal(tmp_path, forms):
    photos, masks = ([unicodedata.normalize(form, name) for name in ACCENTS] for form in forms)
    root = in_folders_of(tmp_path, [f"{p}.jpg" for p in photos], [f"{m}.png" for m in masks])
    (root / "ids.txt").write_text(unicodedata.normalize("NFD", ACCENTS[0]) + "\n")
    data = open_folder(root)
    assert [sample.name for sample in data.samples] == sorted(ACCENTS)
    assert all(sample.read_target().shape == (6, 8) for sample in data.samples)
    [only] = open_folder(root, ids=root / "ids.txt").samples
    assert only.name == ACCENTS[0]
    assert len(in_folders(root / "images", root / "masks").photos) == 2


def test_photos_and_masks_of_all_suffixes(tmp_path):
    photos = ["p0.jpg", "p1.JPG", "p2.jpeg", "p3.bmp", "p4.tif", "p5.webp", "p6.PNG", "p7.gif"]
    masks = ["p0.png", "p1.PNG", "p2.bmp", "p3.tif", "p4.TIFF", "p5.png", "p6.png", "p7.png"]
    root = in_folders_of(tmp_path, photos, masks)
    data = open_folder(root)
    assert [sample.name for sample in data.samples] == [f"p{number}" for number in range(8)]
    for sample in data.samples:
        assert sample.read_image().size == (8, 6)
        assert sample.read_target().shape == (6, 8)
    assert len(in_folders(root / "images", root / "masks").photos) == 8


def test_photos_without_a_mask_are_named(tmp_path, caplog):
    root = in_folders_of(tmp_path, ["a.jpg", "b.webp"], ["a.png"])
    with pytest.raises(DatasetError, match=r"1 of 2 have no mask: b\."):
        open_folder(root)
    assert [photo.name for photo in in_folders(root / "images", root / "masks").photos] == ["a"]
    assert "1 photo has no mask: b" in caplog.text


def test_hidden_folders_thumbnails_and_loops_are_no_photos(tmp_path):
    names = ["a.jpg", ".ipynb_checkpoints/a-checkpoint.jpg", "@eaDir/a.jpg/THUMB_M.jpg"]
    root = in_folders_of(tmp_path, [*names, "__MACOSX/b.jpg"], ["a.png"])
    (root / "images" / "again").symlink_to(root / "images")
    (root / "images" / "circle").symlink_to(root / "images" / "circle")
    assert [sample.name for sample in open_folder(root).samples] == ["a"]
    [source] = list_sources([root / "images"])
    assert [Path(photo.path).name for photo in source.photos] == ["a.jpg"]


@pytest.mark.parametrize("suffix", [".png", ".PNG"])
def test_predictions_are_found_by_names_that_look_equal(tmp_path, suffix):
    data = open_folder(in_folders_of(tmp_path / "data", ["a.jpg"], ["a.png"]))
    (tmp_path / "maps").mkdir()
    for name in ACCENTS:
        path = tmp_path / "maps" / f"{unicodedata.normalize('NFD', name)}{suffix}"
        Image.fromarray(np.ones((6, 8), np.uint8)).save(path, "PNG")
    folder = PredictionFolder(tmp_path / "maps", data.space, protocol_of("native", data.name))
    image = Image.new("RGB", (8, 6))
    photos = [scaled(Photo(name, width=8, height=6), image, 0) for name in (*ACCENTS, "c")]
    first, second, third = folder.stream(photos)
    assert first.labels.all()
    assert second.labels.all()
    assert third.failure == f"no prediction in {tmp_path / 'maps'}"
    assert folder.stamp(ACCENTS[0]) != folder.stamp("c") == "-"


def filled(root, values, names=("a", "b", "c")):
    in_folders_of(root, [f"{name}.jpg" for name in names], [f"{name}.png" for name in names])
    for name in names:
        mask = np.resize(np.array(values, np.uint8), (6, 8))
        Image.fromarray(mask).save(root / "masks" / f"{name}.png")
    return root


@pytest.mark.parametrize(
    ("values", "is_told"),
    [((0, 255), True), ((255,), True), ((0, 1, 255), False), ((0,), False), ((0, 1), False)],
)
def test_black_and_white_masks_are_told(tmp_path, caplog, values, is_told):
    root = filled(tmp_path, values)
    for use in (lambda: open_folder(root), lambda: in_folders(root / "images", root / "masks")):
        caplog.clear()
        use()
        assert ("only the values 0 and 255" in caplog.text) == is_told


@pytest.mark.parametrize(
    ("values", "hint"),
    [
        ((1, 2), "begin at 1"),
        ((1, 2, 255), "begin at 1"),
        ((0, 128), "spread over all greys"),
        ((0, 85, 170), "spread over all greys"),
        ((0, 127, 255), "spread over all greys"),
        ((0, 1, 2), ""),
        ((0, 7, 9), ""),
    ],
)
def test_what_other_values_may_mean(tmp_path, values, hint):
    [first, *_] = open_folder(filled(tmp_path, values)).samples
    with pytest.raises(BadImageError, match="expected 0 to 1, 255") as caught:
        first.read_target()
    assert hint in str(caught.value)
    assert bool(hint) == ("?" in str(caught.value))
