"""What Ctrl-C leaves, and what the user is told of it."""

import re

import numpy as np
import pytest
from PIL import Image

from recoseg import progress
from recoseg.concepts import ConceptBank
from recoseg.learning import feature_store, feature_worker
from tests.command import run


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Photos, a complete index of them and a bank."""
    root = tmp_path_factory.mktemp("interrupted")
    (root / "photos").mkdir()
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 255, (40, 60, 3), np.uint8)
        Image.fromarray(pixels).save(root / f"photos/{number:02}.png")
    (root / "classes.txt").write_text("dog\ncar\n")
    index = ("index", root / "photos", "--out", root / "index", "--precision", "fp32")
    assert run(*index).code == 0
    assert run(*learn(root, root / "bank.safetensors")).code == 0
    return root


def learn(root, out, *options):
    return (
        *("learn", root / "index", "--classes", root / "classes.txt", "--out", out, "-k", 2),
        *("--context", "none", "--image-size", 64, "--precision", "fp32", *options),
    )


def watch_photos(monkeypatch):
    """The photos that are read to be encoded from now on."""
    seen = []
    plain = feature_worker.load_frame
    monkeypatch.setattr(
        feature_worker, "load_frame", lambda photo, frame: seen.append(photo) or plain(photo, frame)
    )
    return seen


def interrupted(monkeypatch, stage, steps, *arguments):
    """Run a command in which Ctrl-C comes when so many steps of a stage are done."""
    plain = progress.StageProgress.advance

    def advance(self, *given, **named):
        plain(self, *given, **named)
        if stage in self._description and self.done >= steps:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(progress.StageProgress, "advance", advance)
        done = run(*arguments)
    assert done.code == 130, done.err
    assert "Traceback" not in done.err
    return done.err.splitlines()[-1]


def test_an_index_goes_on(archive, tmp_path, monkeypatch):
    command = ("index", archive / "photos", "--out", tmp_path / "index", "--precision", "fp32")
    options = ("--shard-size", 2, "--batch-size", 2)
    told = interrupted(monkeypatch, "Indexing", 8, *command, *options)
    kept = re.fullmatch(r"Interrupted\. .*/index keeps (\d+) photos; run the same command .*", told)
    assert kept, told
    again = run(*command, *options)
    assert again.code == 0
    assert f"{kept[1]} known" in again.out
    assert "(12 photos;" in again.out


def test_a_memory_goes_on(archive, tmp_path, monkeypatch):
    command = ("remember", archive / "index", "--out", tmp_path / "memory", "--precision", "fp32")
    options = ("--shard-size", 2, "--batch-size", 2)
    told = interrupted(monkeypatch, "", 8, *command, *options)
    assert re.fullmatch(r"Interrupted\. .*/memory keeps \d+ regions; run the same command .*", told)
    assert run(*command, *options).code == 0


def test_learning_goes_on_without_encoding_photos_again(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "home"))
    monkeypatch.setattr(feature_store, "_BATCH", 2)
    command = learn(archive, tmp_path / "bank.safetensors", "-k", 5)
    told = interrupted(monkeypatch, "features", 4, *command)
    kept = re.fullmatch(r"Interrupted\. (.*/home/learning/\w+) keeps the features .* again\.", told)
    assert kept, told
    assert not (tmp_path / "bank.safetensors").exists()
    encoded = watch_photos(monkeypatch)
    assert run(*command).code == 0
    again = len(encoded)
    encoded.clear()
    assert run(*learn(archive, tmp_path / "other.safetensors", "-k", 5)).code == 0
    assert encoded == []  # what a finished run has encoded serves the next one
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "new home"))
    fresh = learn(archive, tmp_path / "fresh.safetensors", "-k", 5)
    encoded.clear()
    assert run(*fresh).code == 0
    assert again == len(encoded) - 2  # the first batch was kept, and the second was not yet
    continued, whole = (tmp_path / f"{name}.safetensors" for name in ("bank", "fresh"))
    assert ConceptBank.load(continued).fingerprint == ConceptBank.load(whole).fingerprint


def test_a_cache_of_ones_own_stays(archive, tmp_path, monkeypatch):
    cached = (*learn(archive, tmp_path / "bank.safetensors"), "--cache", tmp_path / "cache")
    told = interrupted(monkeypatch, "Co-segmenting", 1, *cached)
    assert f"{tmp_path / 'cache'} keeps the features of the photos so far" in told
    assert not (tmp_path / "bank.safetensors").exists()
    assert run(*cached).code == 0
    assert any((tmp_path / "cache").iterdir())


def test_masks_go_on(archive, tmp_path, monkeypatch):
    command = ("segment", archive / "bank.safetensors", archive / "photos", "--precision", "fp32")
    options = ("--resize", 64, "--batch-size", 1, "--out", tmp_path / "masks")
    told = interrupted(monkeypatch, "Segmenting", 3, *command, *options)
    assert told == f"Interrupted. {tmp_path / 'masks'} keeps what is done; go on with --resume."
    assert run(*command, *options, "--resume").code == 0
    assert len(list((tmp_path / "masks/labels").iterdir())) == 12
