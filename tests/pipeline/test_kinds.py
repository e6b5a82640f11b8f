"""What a path is, for users who name another thing than a command expects."""

import json

import pytest
from PIL import Image

from recoseg.errors import FileError
from recoseg.pipeline.kinds import describe_kind, kind_of
from recoseg.storage.tensors import write_tensors
from tests.command import run
from tests.segmentation.fakes import make_bank

MARKED = {
    "index": ("manifest.json", "recoseg-index", "an index of photos; `recoseg learn` learns"),
    "memory": ("manifest.json", "recoseg-memory-1", "a region memory"),
    "masks": ("settings.json", "recoseg-masks-1", "a folder of masks"),
    "labels": ("pseudo_labels.json", "recoseg-pseudo-labels-1", "`recoseg train` takes it"),
    "run": ("settings.json", "recoseg-training-1", "the folder of a training run"),
    "suite": ("settings.json", "recoseg-suite-1", "an evaluation"),
}


@pytest.mark.parametrize("name", MARKED)
def test_folders_of_recoseg(tmp_path, name):
    mark, form, expected = MARKED[name]
    (tmp_path / mark).write_text(json.dumps({"format": form}))
    assert form.startswith(kind_of(tmp_path))
    assert expected in describe_kind(tmp_path)
    if name != "memory":
        result = run("inspect", tmp_path)
        assert result.code == 1
        assert result.err == (
            f"Error: {describe_kind(tmp_path)} Expected a concept bank, a trained model, the "
            "folder of a training run with its model, or a region memory.\n"
        )


def make_files(folder):
    make_bank().save(folder / "bank.safetensors")
    write_tensors(folder / "model.safetensors", {}, {"format": "recoseg-model-1"})
    (folder / "classes.txt").write_text("dog\nété\n" * 9_000, encoding="utf-8")
    (folder / "empty").touch()
    (folder / "data.bin").write_bytes(bytes(range(256)) * 9)
    (folder / "latin1.txt").write_bytes(b"\xe9t\xe9\n" * 20)
    Image.new("RGB", (4, 4)).save(folder / "photo.png")
    (folder / "model.onnx").write_bytes(b"\0onnx")
    (folder / "folder").mkdir()
    (folder / "broken").mkdir()
    (folder / "broken" / "manifest.json").write_text("{")
    (folder / "embeddings" / "img_emb").mkdir(parents=True)


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "bank.safetensors": "a concept bank; `recoseg segment`",
        "model.safetensors": "a trained model; `recoseg segment`",
        "classes.txt": "a text file; if it is a list of classes, `recoseg learn INDEX --classes",
        "empty": "an empty file.",
        "data.bin": "no output of recoseg.",
        "latin1.txt": "no output of recoseg.",
        "photo.png": "a photo; `recoseg segment BANK PHOTO",
        "model.onnx": "a model for ONNX",
        "folder": "no output of recoseg.",
        "broken": "a folder whose manifest.json is damaged",
        "embeddings": "a folder of embeddings",
    }.items(),
)
def test_files_and_other_folders(tmp_path, name, expected):
    make_files(tmp_path)
    found = describe_kind(tmp_path / name)
    assert found.startswith(f"{tmp_path / name} is {expected}"), found
    result = run("inspect", tmp_path / name)
    if name == "bank.safetensors":
        assert result.code == 0
    elif name == "model.safetensors":  # opened, and refused because it holds no tensors
        assert (result.code, "Expected a concept bank" in result.err) == (1, False)
    else:
        assert (result.code, found in result.err) == (1, True)


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(FileError):
        kind_of(tmp_path / "gone")
    assert "No concept bank was found at" in run("inspect", tmp_path / "gone").err
    (tmp_path / "cut.safetensors").write_bytes(b"no tensors")
    assert "Expected a concept bank." in run("inspect", tmp_path / "cut.safetensors").err
