"""`recoseg verify`: what a path holds is recognised, checked in full, and told in one line."""

import json
import sys
import types
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

import recoseg
from recoseg.errors import FileError, MissingFileError
from recoseg.storage.verification import Verification
from tests.command import run
from tests.segmentation.fakes import make_bank


@pytest.fixture
def bank(tmp_path):
    make_bank().save(tmp_path / "bank.safetensors")
    return tmp_path / "bank.safetensors"


def damage(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_bank(bank):
    found = recoseg.verify(bank)
    assert found == recoseg.verify(str(bank)) == Verification("concept bank", 1, 0, ())
    result = run("verify", bank)
    assert result.code == 0, result.err
    assert result.out == f"{bank}: concept bank, files checked: 1; no problem found\n"
    damage(bank)
    result = run("verify", bank)
    assert result.code == 1
    assert result.err.startswith(f"{bank}: {bank} is damaged")
    assert result.out == f"{bank}: concept bank, files checked: 1; problems: 1\n"


def test_a_bank_of_an_early_version(bank):
    save_file(load_file(bank), bank, {"format": "recoseg-bank-1"})
    assert run("verify", bank).code == 1  # its classes are missing
    whole = bank.with_name("whole.safetensors")
    make_bank().save(whole)
    from safetensors import safe_open

    with safe_open(whole, "pt") as file:
        fields = {name: text for name, text in file.metadata().items() if name != "checksum"}
    save_file(load_file(whole), whole, fields)
    result = run("verify", whole)
    assert result.code == 0, result.err
    assert "files checked: 0, without a recorded checksum: 1; no problem found" in result.out


def test_what_is_not_recognised(tmp_path):
    (tmp_path / "text").write_text("hello")
    (tmp_path / "empty").mkdir()
    (tmp_path / "manifest.json").write_text('{"format": "recoseg-other-1"}')
    save_file({}, tmp_path / "weights.safetensors", {"format": "pt"})
    for path in (tmp_path / "text", tmp_path / "empty", tmp_path, tmp_path / "weights.safetensors"):
        with pytest.raises(FileError):
            recoseg.verify(path)
    with pytest.raises(MissingFileError, match="Expected an index, a concept bank"):
        recoseg.verify(tmp_path / "none")


def test_every_path_is_checked_whatever_the_others_are(bank, tmp_path):
    result = run("verify", tmp_path / "no\x1b[2Kne", bank)
    assert result.code == 1
    assert "no\\x1b[2Kne" in result.err
    assert "no problem found" in result.out


FOLDERS = {
    "index": ("manifest.json", "recoseg-index", "recoseg.archive.verify", "verify_index"),
    "masks": ("settings.json", "recoseg-masks-1", "recoseg.writers.verify", "verify_masks"),
    "pseudo-labels": (
        "pseudo_labels.json",
        "recoseg-pseudo-labels-1",
        "recoseg.training.verify",
        "verify_pseudo_labels",
    ),
}


@pytest.mark.parametrize("kind", FOLDERS)
def test_each_folder_has_its_check(tmp_path, monkeypatch, kind):
    mark, form, module, function = FOLDERS[kind]
    calls = []

    def check(folder, progress):
        calls.append((folder, progress))
        return Verification(kind, 5, 2, ("a\x1b is damaged", "b is missing"))

    monkeypatch.setitem(sys.modules, module, types.SimpleNamespace(**{function: check}))
    (tmp_path / mark).write_text(json.dumps({"format": form}))
    assert recoseg.verify(tmp_path).what == kind
    assert calls == [(tmp_path, False)]
    result = run("verify", tmp_path)
    assert result.code == 1
    assert result.err.splitlines() == [
        f"{tmp_path}: a\\x1b is damaged",
        f"{tmp_path}: b is missing",
    ]
    assert result.out == (
        f"{tmp_path}: {kind}, files checked: 5, without a recorded checksum: 2; problems: 2\n"
    )


def test_masks_of_early_versions_have_no_format(tmp_path, monkeypatch):
    checked = Verification("masks", 0, 3, ())
    check = types.SimpleNamespace(verify_masks=lambda *_: checked)
    monkeypatch.setitem(sys.modules, "recoseg.writers.verify", check)
    (tmp_path / "segmentations.jsonl").write_text("")
    (tmp_path / "settings.json").write_text("{}")
    assert recoseg.verify(tmp_path) is checked


def test_a_model_and_its_folder(tmp_path, monkeypatch):
    calls: list[Path] = []

    def check(path):
        calls.append(path)
        return Verification("trained model", 1, 0, ())

    module = types.SimpleNamespace(verify_model=check)
    monkeypatch.setitem(sys.modules, "recoseg.training.verify_model", module)
    save_file({}, tmp_path / "model.safetensors", {"format": "recoseg-model-1"})
    for path in (tmp_path, tmp_path / "model.safetensors"):
        assert recoseg.verify(path).problems == ()
    assert calls == [tmp_path, tmp_path / "model.safetensors"]
