"""`recoseg remember` and `recoseg inspect` of a memory, with encoders of the table."""

import json

import pytest
import torch

import recoseg
import recoseg.pipeline.remember
from recoseg.archive.selection import Selection
from recoseg.errors import EncoderMismatchError, RecosegError, UnknownNameError
from recoseg.memory.region_memory import RegionMemory
from tests.command import Session, run
from tests.learning.fakes import Phi, Saliency

from .fakes import make_index

PHI = TEXT = "lite"
SIZE = 64


class Halves:
    """A left and a right half, whatever the grid."""

    key = "halves"
    needs_features = True

    def regions(self, photo, pixels, features=()):
        labels = torch.ones(features[0].shape[1:], dtype=torch.int32)
        labels[:, labels.shape[1] // 2 :] = 2
        return labels


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    root = tmp_path_factory.mktemp("remember")
    make_index(root, 5)
    return Session(root)


@pytest.fixture(autouse=True)
def halves(monkeypatch):
    monkeypatch.setattr(recoseg.pipeline.remember, "provider_of", lambda *_: Halves())


def remember(*arguments):
    options = ("--phi", PHI, "--saliency", TEXT, "--size", SIZE, "--precision", "fp32")
    return run("remember", *arguments, *options, "--batch-size", 2, "--workers", 1)


@pytest.fixture(scope="module")
def memory(session):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recoseg.pipeline.remember, "provider_of", lambda *_: Halves())
        result = remember(session / "index", "--out", session / "memory")
    assert result.code == 0, result.err
    assert "5 photos, 10 regions; this run: 5 new, 0 known, 0 left out" in result.out
    return session / "memory"


def test_a_second_run_has_no_work(session, memory):
    result = remember(session / "index", "--out", memory)
    assert result.code == 0, result.err
    assert "this run: 0 new, 5 known" in result.out


def test_selection_and_prune(session, memory):
    selected = recoseg.open_index(session / "index")
    Selection({selected.photo_id(2): "blurred"}).save(session / "selection.parquet")
    arguments = (session / "index", "--out", session / "some", "--selection")
    result = remember(*arguments, session / "selection.parquet")
    assert "4 photos, 8 regions" in result.out
    assert "5 photos" in remember(session / "index", "--out", session / "some").out
    result = remember(*arguments, session / "selection.parquet")
    assert "or left out by --selection: 1 photo of the memory" in result.err
    result = remember(*arguments, session / "selection.parquet", "--prune")
    assert "1 photo was removed" in result.err
    assert "4 photos, 8 regions" in result.out


def test_merge(session, memory):
    result = run("remember", "--merge", memory, memory, "--out", session / "merged")
    assert result.code == 0, result.err
    assert "5 photos, 10 regions; this run: 5 new, 5 known" in result.out
    result = run("remember", memory, memory, "--out", session / "merged")
    assert result.code == 2
    assert "Expected one index, got 2. To merge region memories, add --merge." in result.err


def test_inspect(memory):
    result = run("inspect", memory)
    assert result.code == 0, result.err
    for text in ("photos: 5", "regions: 10 (2.0 per photo), by halves", "text: lite ("):
        assert text in result.out
    found = json.loads(run("inspect", memory, "--json").out)
    assert (found["photos"], found["regions"], found["regions_per_photo"]) == (5, 10, 2.0)
    assert found["bytes"] > 10 * 2 * (found["phi"][0]["dim"] + found["texts"][0]["dim"])


def test_other_settings(session, memory):
    result = run("remember", session / "index", "--out", memory, "--size", 48, "--phi", PHI)
    assert result.code == 1
    assert "was made with the size 64, not 48" in result.err
    result = run("remember", session / "index", "--out", memory, "--phi", "nonsense")
    assert "nonsense" in result.err
    result = run("inspect", session / "index")
    assert "is an index of photos" in result.err


def test_the_call_takes_encoders_and_providers(tmp_path):
    index = make_index(tmp_path, 3)
    options = {"phi": [Phi()], "saliency": Saliency(stride=8), "size": 48, "precision": "fp32"}
    memory = recoseg.remember(index, tmp_path / "memory", regions=Halves(), **options)
    assert isinstance(memory, RegionMemory)
    assert (len(memory), memory.report.new, memory.manifest.provider) == (6, 3, "halves")
    with pytest.raises(EncoderMismatchError, match="the size 48, not 40"):
        recoseg.remember(index, tmp_path / "memory", regions=Halves(), **options | {"size": 40})
    with pytest.raises(RecosegError, match="size is 8; expected 16 or more"):
        recoseg.remember(index, tmp_path / "memory", **options | {"size": 8})
    with pytest.raises(UnknownNameError, match="nonsense"):
        recoseg.remember(index, tmp_path / "memory", **options | {"phi": "nonsense"})
