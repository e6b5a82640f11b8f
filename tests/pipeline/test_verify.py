"""`recoseg verify`: what a path holds is recognised, checked in full, and told in one line."""

import pytest
from safetensors.torch import load_file, save_file

import recoseg
from recoseg.errors import FileError, MissingFileError
from recoseg.storage.verification import Verification
from recoseg.training.trainer import Machines, train
from tests.archive.conftest import make_folder
from tests.archive.fake_encoder import FakeEncoder
from tests.building import build_index
from tests.command import run
from tests.evaluation.scenes import segmenter
from tests.segmentation.fakes import make_bank
from tests.training.runs import quick, write_pairs


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
    with pytest.raises(MissingFileError, match="Expected an index, a region memory"):
        recoseg.verify(tmp_path / "none")


def test_every_path_is_checked_whatever_the_others_are(bank, tmp_path):
    result = run("verify", tmp_path / "no\x1b[2Kne", bank)
    assert result.code == 1
    assert "no\\x1b[2Kne" in result.err
    assert "no problem found" in result.out


@pytest.fixture
def made(tmp_path):
    """An index, masks, pseudo-labels and a trained model, each with a file of it."""
    photos = make_folder(tmp_path / "photos", 3)
    build_index([photos], tmp_path / "index", FakeEncoder())
    recoseg.segment(segmenter(), photos, tmp_path / "masks")
    recoseg.pseudo_label(segmenter(), photos, tmp_path / "pseudo")
    train(write_pairs(tmp_path / "pairs"), quick(), tmp_path / "run", machines=Machines("cpu"))
    return {
        tmp_path / "index": "img_emb/img_emb_0.npy",
        tmp_path / "masks": "labels/photo0.png",
        tmp_path / "pseudo": "labels/photo1.png",
        tmp_path / "run": "model.safetensors",
    }


def test_each_output_is_recognised_and_each_damage_found(made):
    for path, name in made.items():
        found = recoseg.verify(path)
        assert found.checked > 0
        assert (found.unchecked, found.problems) == (0, ())
        damage(path / name)
        [problem] = recoseg.verify(path).problems
        assert name.split("/")[-1] in problem
        result = run("verify", path)
        assert result.code == 1
        assert result.err.endswith(f"{path}: {problem}\n")
        assert result.out.endswith("; problems: 1\n")


def test_damaged_settings_of_masks_are_told(tmp_path):
    (tmp_path / "settings.json").write_text("{bad")
    with pytest.raises(FileError, match=r"settings\.json .*What .* holds cannot be told"):
        recoseg.verify(tmp_path)
