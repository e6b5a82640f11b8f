"""In every command, everything that can be checked is checked before a model is loaded."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from recoseg.errors import MissingWeightsError, RecosegError
from recoseg.pipeline.checks import check_encoder, check_output_folder, list_photos
from tests.command import run
from tests.learning.fakes import Retrieval, make_archive
from tests.segmentation.fakes import make_bank


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with an index, a bank of unknown encoders, photos and a few obstacles."""
    root = tmp_path_factory.mktemp("checks")
    make_archive(root, Retrieval())
    make_bank().save(root / "bank.safetensors")
    (root / "file").write_text("a file")
    (root / "classes.txt").write_text("rose\n")
    (root / "red.txt").write_text("red\n")
    (root / "empty").mkdir()
    data = root / "data"
    for folder in ("images", "masks"):
        (data / folder).mkdir(parents=True)
        Image.new("L" if folder == "masks" else "RGB", (8, 8)).save(data / folder / "a.png")
    (data / "classes.txt").write_text("red\ngreen\nblue\n")
    return root


CASES = {
    "segment, mistyped photos": (
        "segment {0}/bank.safetensors {0}/nowhere --out {0}/o",
        "Nothing was found at",
    ),
    "segment, no photos": ("segment {0}/bank.safetensors {0}/empty --out {0}/o", "No photos found"),
    "segment, mistyped bank": (
        "segment {0}/none.safetensors {0}/photos --out {0}/o",
        "No concept bank was found at",
    ),
    "segment, names of a product": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/o --names softmax",
        "The fusion product has no scores of single names",
    ),
    "segment, mistyped names": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/o --names best",
        "Valid: cosine, softmax",
    ),
    "segment, a temperature of no names": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/o --names-temperature 40",
        "no effect without --names softmax",
    ),
    "segment, two temperatures": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/o --names softmax --temperature 1",
        "--temperature would have no effect",
    ),
    "segment, an area above all": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/o --area-threshold 2",
        "area_threshold is 2.0; expected 0 or more, and less than 1",
    ),
    "segment, windows that leave gaps": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/o --window 32 --window-step 40",
        "windows would leave gaps",
    ),
    "segment, out is a file": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/file",
        "is a file",
    ),
    "segment, into the photos": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/photos",
        "is a source of photos, too",
    ),
    "segment, into an index": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/index --overwrite",
        "output of another command",
    ),
    "pseudo-label, into the photos": (
        "pseudo-label {0}/bank.safetensors {0}/photos/../photos --out {0}/photos",
        "is a source of photos, too",
    ),
    "segment, out below a file": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/file/o",
        "is not a folder",
    ),
    "segment, unknown background": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/o --background cat",
        "cat",
    ),
    "segment, unknown fusion": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/o --fusion x",
        "Unknown fusion 'x'",
    ),
    "segment, unknown refinement": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/o --refine x",
        "refine",
    ),
    "segment, unknown phi": (
        "segment {0}/bank.safetensors {0}/photos --out {0}/o --phi x",
        "Unknown phi encoder 'x'",
    ),
    "pseudo-label, mistyped photos": (
        "pseudo-label {0}/bank.safetensors {0}/nowhere --out {0}/o",
        "Nothing was found at",
    ),
    "pseudo-label, out is a file": (
        "pseudo-label {0}/bank.safetensors {0}/photos --out {0}/file",
        "is a file",
    ),
    "pseudo-label, confidence": (
        "pseudo-label {0}/bank.safetensors {0}/photos --out {0}/o --min-confidence 2",
        "expected 0 to 1",
    ),
    "learn, mistyped classes": (
        "learn {0}/index --classes {0}/none.txt --out {0}/b.safetensors",
        "neither a file",
    ),
    "learn, mistyped index": (
        "learn {0}/none --classes {0}/classes.txt --out {0}/b.safetensors",
        "No index",
    ),
    "learn, out is a folder": (
        "learn {0}/index --classes {0}/classes.txt --out {0}/empty",
        "is a folder",
    ),
    "learn, out ends otherwise": (
        "learn {0}/index --classes {0}/classes.txt --out {0}/b.pt",
        "does not end in",
    ),
    "learn, class is there": (
        "learn {0}/index --classes {0}/red.txt --add-to {0}/bank.safetensors "
        "--out {0}/b.safetensors",
        "already holds: red",
    ),
    "learn, unknown phi": (
        "learn {0}/index --classes {0}/classes.txt --out {0}/b.safetensors "
        "--retrieval lite --phi x",
        "Unknown phi encoder 'x'",
    ),
    "learn, missing weights": (
        "learn {0}/index --classes {0}/classes.txt --out {0}/b.safetensors "
        "--retrieval lite --phi dino-s16={0}/no.pt",
        "No weights file",
    ),
    "learn, unknown preset": (
        "learn {0}/index --classes {0}/classes.txt --out {0}/b.safetensors --preset x",
        "Unknown preset",
    ),
    "learn, figures is a file": (
        "learn {0}/index --classes {0}/classes.txt --out {0}/b.safetensors --figures {0}/file",
        "is a file",
    ),
    "learn, a setting": (
        "learn {0}/index --classes {0}/classes.txt --out {0}/b.safetensors --preset lite -k 0",
        "k is 0",
    ),
    "retrieve, mistyped index": ("retrieve {0}/none rose", "No index"),
    "retrieve, out is a folder": ("retrieve {0}/index rose --out {0}/empty", "is a folder"),
    "retrieve, kind of search": ("retrieve {0}/index rose --approximate x", "Unknown kind"),
    "index, mistyped photos": ("index {0}/nowhere --out {0}/i", "Nothing was found at"),
    "index, out is a file": ("index {0}/photos --out {0}/file", "is a file"),
    "index, unknown encoder": ("index {0}/photos --out {0}/i --retrieval x", "Unknown retrieval"),
    "evaluate, mistyped root": (
        "evaluate {0}/bank.safetensors --dataset folder --root {0}/none",
        "no folder",
    ),
    "evaluate, unknown data set": (
        "evaluate {0}/bank.safetensors --dataset x --root {0}/data",
        "Unknown data set",
    ),
    "evaluate, out is a file": (
        "evaluate {0}/bank.safetensors --dataset folder --root {0}/data --out {0}/file",
        "is a file",
    ),
    "evaluate, mistyped bank": (
        "evaluate {0}/none.safetensors --dataset folder --root {0}/data",
        "concept bank",
    ),
    "train, mistyped masks": ("train --masks {0}/none --images {0}/photos --out {0}/r", "none"),
    "train, out is a file": (
        "train --masks {0}/data/masks --images {0}/data/images --out {0}/file",
        "is a file",
    ),
    "ablate, unknown study": ("ablate x --index {0}/index --out {0}/a", "Unknown study"),
    "ablate, no data set": ("ablate k --index {0}/index --out {0}/a", "expected a data set"),
    "ablate, mistyped index": (
        "ablate k --index {0}/none --out {0}/a --dataset folder --root {0}/data",
        "No index",
    ),
    "export, mistyped run": ("export {0}/none --onnx", "No trained model"),
}


@pytest.mark.parametrize("case", CASES)
def test_one_line_before_any_model(case, files, monkeypatch):
    def loaded(*_, **__):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr("recoseg.encoders.encoder_table._build", loaded)
    monkeypatch.setattr("recoseg.training.network.build_network", loaded)
    command, expected = CASES[case]
    result = run(*command.format(files).split())
    assert result.code in (1, 2), result
    assert result.err.startswith("Error: "), result.err
    assert any(part in result.err for part in expected.split("|")), result.err


@pytest.mark.skipif(
    os.name == "nt" or os.geteuid() == 0, reason="the super-user may write anywhere"
)
def test_a_folder_without_permission_is_refused(files, tmp_path):
    tmp_path.chmod(0o500)
    result = run("segment", files / "bank.safetensors", files / "photos", "--out", tmp_path / "o")
    assert "no permission to write" in result.err


def test_version_and_python_m():
    shown = subprocess.run(
        [sys.executable, "-m", "recoseg", "--version"], capture_output=True, text=True, check=True
    )
    import recoseg

    assert shown.stdout == f"recoseg {recoseg.__version__}\n"


@pytest.mark.parametrize("place", ["http://x/y", Path("http://x/y"), "s3://bucket/masks", ""])
def test_outputs_are_local_and_named(place):
    with pytest.raises(RecosegError, match=r"Expected a (local path|path to write to)"):
        check_output_folder(place)


@pytest.mark.parametrize("given", ["", [], ["photos", ""]])
def test_an_empty_source_is_not_the_current_folder(given, tmp_path):
    with pytest.raises(RecosegError, match="No photos are given"):
        list_photos(given, tmp_path)


def test_weights_are_a_file_or_where_the_hub_has_one_a_folder(tmp_path):
    (tmp_path / "a.safetensors").touch()
    check_encoder(f"dino-s16={tmp_path}/a.safetensors", "phi")
    check_encoder(f"tipsv2-b14={tmp_path}", "saliency")
    for spec, role, what in (
        (f"dino-s16={tmp_path}", "phi", "file"),
        (f"tipsv2-b14={tmp_path}/a.safetensors", "saliency", "folder"),
    ):
        with pytest.raises(MissingWeightsError, match=f"No weights {what} was found at"):
            check_encoder(spec, role)
