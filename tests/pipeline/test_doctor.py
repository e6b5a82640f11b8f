"""What is on this machine is said, and what is missing is fetched."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import recoseg
from recoseg.encoders.inventory import files_of_encoder, files_of_preset
from recoseg.encoders.presets import PRESETS, preset
from recoseg.encoders.tracker_sources import TRACKERS
from recoseg.encoders.weight_sources import HubFile, PackageFile
from recoseg.errors import MissingWeightsError, RecosegError, UnknownNameError
from recoseg.pipeline import doctor as doctoring
from tests.command import run

_CLIP = "vit_base_patch32_clip_224.openai.safetensors"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache, and no network."""
    folder = tmp_path / "cache"
    (folder / "weights").mkdir(parents=True)
    monkeypatch.setenv("RECOSEG_CACHE", str(folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("recoseg.encoders.download.reachable", lambda *_: False)
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    return folder


def _weights(path: Path) -> Path:
    save_file({"weight": torch.ones(2, 3)}, path)
    return path


def test_a_preset_needs_each_file_once():
    found = files_of_preset(preset("lite"))
    assert [type(one.source) for one in found] == [PackageFile, PackageFile]
    assert all(one.roles == ("retrieval", "saliency", "phi") for one in found)
    found = files_of_preset(preset("paper"))
    assert [(one.encoder, one.roles) for one in found] == [
        ("ViT-L/14@336px", ("retrieval",)),
        ("RN50x16", ("saliency",)),
        ("deit-s16-sin", ("phi",)),
    ]


def test_files_of_encoders_of_the_table():
    [one] = files_of_encoder("dinov2-b14")
    assert one.source == HubFile("timm/vit_base_patch14_dinov2.lvd142m")
    assert files_of_encoder("ViT-B/16/naclip") == files_of_encoder("ViT-B/16")
    with pytest.raises(UnknownNameError, match=r"Unknown encoder 'dinov9'.*, sam3, sam2, .*-tiny"):
        files_of_encoder("dinov9")
    with pytest.raises(RecosegError, match="a model of another library"):
        files_of_encoder("timm:resnet50")


def test_weights_that_are_here_missing_or_damaged(cache):
    _weights(cache / "weights" / _CLIP)
    (cache / "weights" / "resnet50_clip.openai.safetensors").touch()
    found = recoseg.doctor(probe=False)
    states = {(one.preset, one.needed.encoder): one for one in found.weights}
    assert states["paper-light", "ViT-B/32"].presence == "here"
    assert states["paper-light", "ViT-B/32"].where == str(cache / "weights" / _CLIP)
    assert states["paper-light", "RN50"].presence == "damaged"
    assert "is empty" in states["paper-light", "RN50"].problem
    assert states["paper", "ViT-L/14@336px"].presence == "missing"
    assert {preset for preset, _ in states} == {"", *(one.name for one in PRESETS)}
    assert found.works_offline
    assert found.machine["own cache"] == str(cache)
    assert found.machine["Hugging Face Hub"] == "switched off by HF_HUB_OFFLINE"


def test_the_hub_is_asked_only_if_something_is_missing(cache, monkeypatch):
    asked = []
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(doctoring, "reachable", lambda address: asked.append(address) or True)
    found = recoseg.doctor()
    assert asked == ["https://huggingface.co"]
    assert found.machine["Hugging Face Hub"] == "https://huggingface.co answers"
    located = doctoring.find_here(files_of_preset(preset("lite"))[0].source, "lite")
    monkeypatch.setattr(doctoring, "find_here", lambda *_: located)
    recoseg.doctor()
    assert len(asked) == 1


def test_every_extra_for_users_is_told():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert set(doctoring.EXTRAS) == set(project["optional-dependencies"]) - {"docs", "dev"}


def test_an_extra_that_is_not_installed(monkeypatch):
    required = [
        'fine>=1; extra == "crf"',
        'gone>=2; extra == "crf"',
        "numpy",
        'old>=3; extra == "s3"',
    ]
    monkeypatch.setattr(doctoring.importlib.metadata, "requires", lambda _: required)
    versions = {"fine": "1.5", "gone": None, "old": "2.0"}
    monkeypatch.setattr(doctoring, "_version", versions.get)
    found = {one.name: one for one in doctoring._extras()}
    assert set(found) == {"crf", "s3"}
    assert found["crf"].installed == ("fine 1.5",)
    assert found["crf"].missing == ("gone>=2",)
    assert found["s3"].missing == ("old>=3",)


def test_the_command_says_what_to_do(cache):
    told = run("doctor")
    assert told.code == 0, told.err
    assert "get them by: recoseg fetch --preset paper-light" in told.out
    assert "Weights of lite" not in told.out
    assert "no tracker for `segment --video`; get one by: recoseg fetch sam2\n" in told.out
    (cache / "weights" / _CLIP).touch()
    told = run("doctor")
    assert told.code == 1
    assert f"{_CLIP} of 'ViT-B/32' is empty" in told.err


def test_files_are_collected_for_another_machine(cache, tmp_path, monkeypatch):
    here = _weights(tmp_path / "model.safetensors")
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: str(here))
    told = run("fetch", "ViT-B/32", "--to", tmp_path / "away")
    assert told.code == 0, told.err
    assert f"set RECOSEG_CACHE to a copy of {tmp_path / 'away'}" in told.out
    copy = tmp_path / "away" / "weights" / _CLIP
    assert copy.read_bytes() == here.read_bytes()
    before = copy.stat().st_mtime_ns
    [again] = recoseg.fetch("ViT-B/32", to=tmp_path / "away")
    assert again.path == copy
    assert copy.stat().st_mtime_ns == before
    # The other machine, which has no network.
    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "away"))
    [found] = recoseg.fetch(["ViT-B/32"])
    assert (found.path, found.size) == (copy, copy.stat().st_size)


def _tracker(folder: Path) -> Path:
    """The files of a tracker as the Hub holds them, and others beside them."""
    folder.mkdir()
    _weights(folder / "model.safetensors")
    for name in ("config.json", "processor_config.json", "video_preprocessor_config.json"):
        (folder / name).write_text("{}")
    (folder / "sam2.1_hiera_tiny.pt").write_bytes(b"not needed")
    return folder


def test_trackers_are_listed_and_collected(cache, tmp_path):
    def states():
        found = [one for one in recoseg.doctor(probe=False).weights if not one.preset]
        assert all(one.needed.roles == ("tracker",) for one in found)
        return {one.needed.encoder: one.presence for one in found}

    assert states() == {row.name: "missing" for row in TRACKERS}
    with pytest.raises(MissingWeightsError, match=r"sam2.1-hiera-tiny(.|\n)*--tracker none"):
        recoseg.fetch("sam2-tiny")
    here = _tracker(cache / "weights/sam2.1-hiera-tiny-model")
    assert states() == {row.name: "missing" for row in TRACKERS} | {"sam2-tiny": "here"}
    told = run("doctor")
    [row] = [line for line in told.out.splitlines() if "sam2-tiny" in line]
    cells = [cell.strip() for cell in row.split("│")[1:-1]]
    assert cells == ["", "sam2-tiny", "tracker", "Apache-2.0", "here"]
    assert "no tracker" not in told.out
    [found] = recoseg.fetch("sam2-tiny", to=tmp_path / "away")
    assert found.path == tmp_path / "away/weights" / here.name
    copied = {path.name for path in found.path.iterdir()}
    assert copied == {path.name for path in here.iterdir()} - {"sam2.1_hiera_tiny.pt"}
    (here / "model.safetensors").write_bytes(b"not a weights file")
    with pytest.raises(RecosegError, match="is not a valid safetensors file"):
        recoseg.fetch("sam2-tiny")


def test_nothing_is_fetched_for_packages(cache, tmp_path):
    found = recoseg.fetch(to=tmp_path / "away")
    assert [one.portable for one in found] == [False, False]
    assert not (tmp_path / "away").exists()


def test_missing_and_damaged_files_are_errors(cache):
    with pytest.raises(MissingWeightsError, match="HF_HUB_OFFLINE is set"):
        recoseg.fetch(preset="paper-light")
    (cache / "weights" / _CLIP).write_bytes(b"not a weights file")
    with pytest.raises(RecosegError, match="is not a valid safetensors file"):
        recoseg.fetch("ViT-B/32")


def test_fetch_and_doctor_do_not_import_the_encoders_libraries():
    script = """
import sys
import recoseg
recoseg.doctor(probe=False)
recoseg.fetch()
print(*(name for name in ("timm", "open_clip", "transformers") if name in sys.modules))
"""
    command = [sys.executable, "-c", script]
    ended = subprocess.run(command, env=os.environ, capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == ""
