"""Names of sources and outputs that are empty or in the wrong place are refused in one line."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.errors import RecosegError
from recoseg.pipeline.checks import as_list, check_output_file, check_output_folder
from tests.command import run
from tests.segmentation.fakes import make_bank


@pytest.mark.parametrize("url", ["http://h/o", "http:/h/o", "s3://b/o", "HTTP:/h/o"])
@pytest.mark.parametrize("check", [check_output_folder, check_output_file])
def test_no_output_is_written_to_a_url(url, check, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scheme = url.split(":")[0]
    with pytest.raises(RecosegError, match=rf"write to {scheme}://[hb]/o\. Expected a local"):
        check(url)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / f"{scheme}:").mkdir()
    if "://" not in url:
        assert check(url), "a folder of that name"


@pytest.mark.parametrize(
    "command",
    [
        "segment bank.safetensors photos --out http://h/o",
        "index photos --out http://h/o",
        "learn rose --index photos --out http://h/o.safetensors",
        "train photos --out s3://b/o",
        "demo --out s3://b/o",
        "forget bank.safetensors a --out s3://b/o.safetensors",
    ],
)
def test_no_command_writes_to_a_url(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_bank().save(tmp_path / "bank.safetensors")
    (tmp_path / "photos").mkdir()
    found = run(*command.split())
    assert found.code in (1, 2)
    assert [path.name for path in tmp_path.iterdir() if ":" in path.name] == [], found.err


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["segment", "bank.safetensors", "", "--out", "o"], "An argument is empty"),
        (["segment", "bank.safetensors", "photos", "--out", ""], "The value of --out is empty"),
        (["learn", "index", "--classes", "", "--out", "b"], "The value of --classes is empty"),
        (["index", "photos", "--out="], "The value of --out is empty"),
    ],
)
def test_empty_arguments_are_refused(arguments, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = run(*arguments)
    assert found.code == 2
    assert what in found.err
    assert found.err.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_empty_names_are_refused():
    for paths in ("", ["a", ""]):
        with pytest.raises(RecosegError, match="name of a source is empty"):
            as_list(paths)
    with pytest.raises(RecosegError, match="name of an output is empty"):
        check_output_folder("")


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        (b"\x89PNG", "bytes"),
        (np.zeros((4, 5, 3), np.uint8), "ndarray"),
        (torch.zeros(3, 4, 5, dtype=torch.uint8), "Tensor"),
        (Image.new("RGB", (4, 5)), "Image"),
        (["a.jpg", Image.new("RGB", (4, 5))], "Image"),
        ([b"abc"], "bytes"),
        (5, "int"),
        (None, "NoneType"),
    ],
)
def test_photos_in_memory_are_no_paths(given, kind):
    with pytest.raises(RecosegError, match=f"got a {kind}. Photos in memory are segmented by"):
        as_list(given)


def test_paths_of_any_type_are_taken():
    assert as_list(Path("a.jpg")) == ["a.jpg"]
    assert as_list(iter(["a", Path("b")])) == ["a", "b"]
