"""Folders: what is in them, what was in them before, and what may not be read."""

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from recoseg.archive.index import ArchiveIndex
from tests.command import run

from .making import data_set, label_map, lines, mask, photo


def test_a_folder_of_a_nas(tmp_path, segment):
    folder = tmp_path / "photos"
    for number, name in enumerate(("a.jpg", "b.jpg")):
        photo(folder / name, seed=number)
        photo(folder / "@eaDir" / name / "SYNOPHOTO_THUMB_M.jpg", 20, 28, number)
    for hidden in ("__MACOSX/._a.jpg", "._b.jpg", "Thumbs.db"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).write_bytes(b"\0\5\x16\7" + bytes(100))
    (folder / "empty").mkdir()
    done = segment(folder, "--out", tmp_path / "out")
    assert (done.code, "Left out" in done.err) == (0, False)
    assert sorted(lines(tmp_path / "out")) == ["a.jpg", "b.jpg"]
    assert run("index", folder, "--out", tmp_path / "index").code == 0
    assert len(ArchiveIndex.open(tmp_path / "index")) == 2


@pytest.fixture
def closed(monkeypatch):
    """Folders of this name cannot be listed from now on, also by those who may read all."""
    real = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    return lambda: monkeypatch.setattr(os, "scandir", scandir)


def test_a_folder_that_may_not_be_read(tmp_path, segment, closed):
    for number in range(3):
        photo(tmp_path / "photos" / "open" / f"{number}.png", seed=number)
        photo(tmp_path / "photos" / "closed" / f"{number}.png", seed=number)
    assert run("index", tmp_path / "photos", "--out", tmp_path / "index").code == 0
    closed()
    reason = f"Left out: {tmp_path / 'photos' / 'closed'}: the folder cannot be read: Permission"
    for _ in range(2):  # also when it was so in an earlier run
        again = run("index", tmp_path / "photos", "--out", tmp_path / "index", "--prune")
        assert (again.code, reason in again.err, "1 left out" in again.out) == (0, True, True)
    assert len(ArchiveIndex.open(tmp_path / "index")) == 6, "nothing below it was removed"
    done = segment(tmp_path / "photos", "--out", tmp_path / "out")
    assert done.code == 0
    assert reason in done.err
    assert len(lines(tmp_path / "out")) == 3
    alone = segment(tmp_path / "photos" / "closed", "--out", tmp_path / "alone")
    assert (alone.code, "The only input could not be segmented" in alone.err) == (1, True)


def test_two_cameras_with_the_same_names(tmp_path, segment):
    photo(tmp_path / "cam1" / "IMG_0001.jpg", 40, 56)
    photo(tmp_path / "cam2" / "IMG_0001.jpg", 30, 56, 2)
    out = tmp_path / "out"
    assert segment(tmp_path / "cam1", "--out", out).code == 0
    first = (out / "labels" / "IMG_0001.png").read_bytes()
    refused = segment(tmp_path / "cam2", "--out", out)
    assert (refused.code, "--resume" in refused.err) == (1, True)
    assert segment(tmp_path / "cam2", "--out", out, "--resume").code == 0
    assert (out / "labels" / "IMG_0001.png").read_bytes() == first
    text = (out / "segmentations.jsonl").read_text().split("\n")
    found = [json.loads(line) for line in text if line]
    assert [(line["name"], line["height"]) for line in found] == [
        ("IMG_0001", 40),
        ("IMG_0001-2", 30),
    ]
    sizes = [Image.open(out / line["files"]["labels"]).size for line in found]
    assert sizes == [(56, 40), (56, 30)]


def test_masks_inside_the_folder_of_the_photos(tmp_path, segment):
    folder = tmp_path / "photos"
    for number, name in enumerate(("a.png", "b.png")):
        photo(folder / name, seed=number)
    assert segment(folder, "--out", folder / "masks").code == 0
    assert len(list((folder / "masks" / "overlays").iterdir())) == 2
    again = segment(folder, "--out", tmp_path / "out")
    assert (again.code, again.out) == (0, f"Masks of 2 photos: {tmp_path / 'out'}\n")
    assert run("index", folder, "--out", tmp_path / "index").code == 0
    assert len(ArchiveIndex.open(tmp_path / "index")) == 2
    refused = segment(folder, "--out", folder)
    assert (refused.code, "is a source of photos, too" in refused.err) == (1, True)
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.png", "masks"]


def test_one_folder_for_two_banks(tmp_path, segment):
    root = data_set(tmp_path / "data", ["a.png", "b.png"])
    out = tmp_path / "out"
    assert segment(root / "images", "--out", out).code == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    for option in ((), ("--resume",)):
        refused = segment(root / "images", "--out", out, *option, bank="other")
        assert (refused.code, "--overwrite" in refused.err) == (1, True)
        assert before == {path: path.read_bytes() for path in before}
    assert segment(root / "images", "--out", out, "--overwrite", bank="other").code == 0
    assert (out / "classes.txt").read_text() == "dog\ncar\ntree\n"
    for name in ("a.png", "b.png"):
        mask(root, name, 2 - label_map(out, name))
    score = run(
        *("evaluate", "--dataset", "folder", "--root", root, "--predictions", out),
        *("--out", tmp_path / "score"),
    )
    assert json.loads((tmp_path / "score" / "evaluation.json").read_text())["scores"]["miou"] == 1
    assert score.code == 0


def test_photos_that_have_moved_since_they_were_labelled(made, tmp_path):
    for number, name in enumerate(("a.png", "b.webp", "c.tif")):
        photo(tmp_path / "old" / name, seed=number)
    labelled = run(
        *("pseudo-label", made / "bank.safetensors", tmp_path / "old", "--out", tmp_path / "set"),
        *("--resize", 64),
    )
    assert labelled.code == 0, labelled.err
    (tmp_path / "old").rename(tmp_path / "new")
    train = ("train", "--masks", tmp_path / "set", "--recipe", "short", "--iterations", 1)
    small = ("--batch-size", 2, "--crop", 32, "--workers", 0, "--encoder", "efficientnet-lite0")
    refused = run(*train, *small, "--out", tmp_path / "refused")
    assert (refused.code, "cannot be read: no such file" in refused.err) == (1, True)
    done = run(*train, *small, "--images", tmp_path / "new", "--out", tmp_path / "run")
    assert (done.code, "from 3 photos" in done.out) == (0, True), done.err


def test_an_archive_that_has_moved(tmp_path):
    for number in range(2):
        photo(tmp_path / "old" / f"{number}.png", seed=number)
    assert run("index", tmp_path / "old", "--out", tmp_path / "index").code == 0
    shutil.move(tmp_path / "old", tmp_path / "new")
    gone = run("index", tmp_path / "old", "--out", tmp_path / "index", "--prune")
    assert (gone.code, f"Nothing was found at {tmp_path / 'old'}" in gone.err) == (1, True)
    assert len(ArchiveIndex.open(tmp_path / "index")) == 2
    (tmp_path / "old").mkdir()
    photo(tmp_path / "other" / "c.png", seed=5)
    both = run(
        *("index", tmp_path / "old", tmp_path / "other", "--out", tmp_path / "index", "--prune"),
    )
    assert (both.code, "Is the disk mounted?" in both.err) == (0, True)
    assert len(ArchiveIndex.open(tmp_path / "index")) == 3


def test_new_photos_that_are_all_broken(made, tmp_path):
    photo(tmp_path / "photos" / "a.png", 64, 80)
    assert run("index", tmp_path / "photos", "--out", tmp_path / "index").code == 0
    (tmp_path / "photos" / "b.png").write_bytes(b"none")
    again = run("index", tmp_path / "photos", "--out", tmp_path / "index")
    assert (again.code, "b.png: not an image of a known format" in again.err) == (0, True)
    assert [photo.path for photo in ArchiveIndex.open(tmp_path / "index").photos()] == [
        str(tmp_path / "photos" / "a.png")
    ]
    done = run("remember", tmp_path / "index", "--out", tmp_path / "memory")
    assert (done.code, "(1 photo, " in done.out) == (0, True), done.err


@pytest.mark.parametrize("command", ["index", "segment", "pseudo-label"])
def test_nothing_that_can_be_used(made, tmp_path, command):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(b"none")
    bank = () if command == "index" else (made / "bank.safetensors",)
    done = run(command, *bank, tmp_path, "--out", tmp_path / "out")
    assert done.code == 1
    assert done.err.count("Left out") == 2
    assert "None of the 2 photos could be" in done.err


def test_an_index_without_photos(made, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"none")
    run("index", tmp_path, "--out", tmp_path / "index")
    learnt = run(
        *("learn", tmp_path / "index", "--classes", made / "bank.txt"),
        *("--out", tmp_path / "b.safetensors"),
    )
    assert (learnt.code, "The index has no photo for" in learnt.err) == (1, True)
    assert run("retrieve", tmp_path / "index", "tree").code == 1
    remembered = run("remember", tmp_path / "index", "--out", tmp_path / "memory")
    assert (remembered.code, "No photo is remembered" in remembered.err) == (1, True)
    assert not (tmp_path / "b.safetensors").exists()


def test_the_same_photos_give_the_same_masks_wherever_they_lie(tmp_path, segment):
    for number in range(2):
        photo(tmp_path / "photos" / f"{number}.png", seed=number)
    shutil.copytree(tmp_path / "photos", tmp_path / "copy")
    for name in ("photos", "copy"):
        assert segment(tmp_path / name, "--out", tmp_path / f"{name}-out").code == 0
    for name in ("0.png", "1.png"):
        first, second = (label_map(tmp_path / f"{n}-out", name) for n in ("photos", "copy"))
        np.testing.assert_array_equal(first, second)
