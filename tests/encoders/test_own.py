"""Encoders of one's own, named as MODULE:NAME or registered by a package."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import recoseg
from recoseg.device import resolve_compute
from recoseg.encoders import own
from recoseg.encoders.encoder_table import build_phi, list_encoders
from recoseg.errors import RecosegError, UnknownNameError
from recoseg.pipeline.checks import check_encoder
from tests.command import run

SOURCE = '''
import torch
import torch.nn.functional as F
from recoseg.encoders.protocols import EncoderInfo

class Colours:
    """Mean colour of each cell, and its square."""

    def __init__(self, device="cpu", weights=None):
        self.info = EncoderInfo("colours", weights or "none", "ab" * 8, 6, 8)
        self.device = device

    def features(self, images):
        pad = (0, -images.shape[3] % 8, 0, -images.shape[2] % 8)
        cells = F.avg_pool2d(F.pad(images.float() / 255, pad, mode="replicate"), 8)
        return torch.cat([cells, cells**2], 1)

def plain():
    return Colours()

class Nested:
    made = Colours()

class Broken:
    def __init__(self):
        raise ValueError("no such\\nmodel")

number = 5
'''
COMPUTE = resolve_compute("cpu", "fp32")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module in the working folder; its name."""
    (tmp_path / "own_models.py").write_text(SOURCE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "own_models", raising=False)
    yield "own_models"
    sys.modules.pop("own_models", None)


@pytest.mark.parametrize("name", ["Colours", "plain", "Nested.made"])
def test_classes_functions_and_objects_are_taken(module, name):
    check_encoder(f"{module}:{name}", "phi")
    encoder = build_phi(f"{module}:{name}", COMPUTE)
    assert (encoder.info.name, encoder.info.dim, encoder.device) == ("colours", 6, "cpu")


def test_arguments_are_given_to_those_who_take_them(module):
    assert build_phi(f"{module}:Colours=mine.pt", COMPUTE).info.weights == "mine.pt"
    with pytest.raises(RecosegError, match=r"takes no argument `weights`, so mine\.pt would"):
        build_phi(f"{module}:plain=mine.pt", COMPUTE)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Missing", "cannot be imported .AttributeError: module 'own_models' has no attribute"),
        ("Broken", "cannot be made .ValueError: no such model."),
        ("number", "gave a int, which lacks info, features. Expected a phi encoder"),
        ("torch.rand", "cannot be made"),
    ],
)
def test_what_is_no_encoder_is_refused(module, name, message):
    with pytest.raises(RecosegError, match=message):
        build_phi(f"{module}:{name}", COMPUTE)


def test_unknown_modules_and_names():
    with pytest.raises(
        RecosegError, match=r"cannot be imported .ModuleNotFoundError: .*'not_there"
    ):
        build_phi("not_there:Phi", COMPUTE)
    with pytest.raises(UnknownNameError, match="MODULE:NAME"):
        build_phi("not there", COMPUTE)


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Photos of two colours, and their index by `lite`."""
    root = tmp_path_factory.mktemp("own")
    (root / "photos").mkdir()
    for number, colour in enumerate([(200, 60, 40), (40, 90, 200)] * 3):
        pixels = np.random.default_rng(number).normal(colour, 25, (96, 128, 3))
        Image.fromarray(pixels.clip(0, 255).astype("uint8")).save(root / f"photos/{number}.png")
    indexed = run("index", root / "photos", "--out", root / "index", "--precision", "fp32")
    assert indexed.code == 0, indexed.err
    return root


def learn(root, module, out):
    learnt = run(
        *("learn", root / "index", "--classes", root / "classes.txt", "--out", out),
        *("--phi", f"{module}:Colours", "-k", 2, "--context", "none", "--precision", "fp32"),
    )
    assert learnt.code == 0, learnt.err


def test_a_bank_learnt_and_used_on_the_command_line(module, archive, tmp_path):
    (archive / "classes.txt").write_text("brick wall\nblue sky\n")
    bank = tmp_path / "bank.safetensors"
    learn(archive, module, bank)
    assert json.loads(run("inspect", bank, "--json").out)["encoders"]["phi"]["name"] == "colours"
    common = ("segment", bank, archive / "photos", "--precision", "fp32", "--resize", 96)
    refused = run(*common, "--out", tmp_path / "refused")
    assert refused.code == 1
    assert "'colours' was not built by name" in refused.err
    assert "--phi MODULE:NAME" in refused.err
    done = run(*common, "--out", tmp_path / "masks", "--phi", f"{module}:Colours")
    assert done.code == 0, done.err
    assert len(list((tmp_path / "masks/labels").iterdir())) == 6


def test_what_a_bank_says_is_never_imported(module, archive, tmp_path):
    (archive / "classes.txt").write_text("brick wall\n")
    learn(archive, module, tmp_path / "bank.safetensors")
    bank = recoseg.ConceptBank.load(tmp_path / "bank.safetensors")
    [phi] = bank.encoders.phi
    hostile = replace(phi, name="own_evil:Colours")
    [concept] = bank.classes
    concept = replace(concept, references={hostile.key: concept.references[phi.key]})
    bank = replace(bank, concepts=(concept,), encoders=replace(bank.encoders, phi=(hostile,)))
    bank.save(tmp_path / "evil.safetensors")
    Path("own_evil.py").write_text("raise SystemExit('imported')")
    done = run(
        "segment", tmp_path / "evil.safetensors", archive / "photos", "--out", tmp_path / "x"
    )
    assert done.code == 1
    assert "was not built by name" in done.err
    assert "own_evil" not in sys.modules


class Point:
    """An entry point as an installed package has it."""

    name, value = "colours", "own_models:Colours"
    dist = SimpleNamespace(name="own-package")

    def load(self):
        return importlib.import_module("own_models").Colours


def test_registered_encoders_have_names(module, monkeypatch, archive, tmp_path):
    monkeypatch.setattr(own, "entry_points", lambda group: [Point()])
    monkeypatch.syspath_prepend(".")
    own.registered.cache_clear()
    try:
        assert "│ colours " in run("encoders").out
        last = list_encoders("phi")[-1]
        assert (last.name, last.note) == ("colours", "from the package own-package")
        (archive / "classes.txt").write_text("brick wall\n")
        bank = tmp_path / "bank.safetensors"
        learn(archive, module, bank)
        done = run("segment", bank, archive / "photos", "--out", tmp_path / "masks")
        assert done.code == 0, done.err  # the bank's own encoder is found by its name
    finally:
        own.registered.cache_clear()


def test_a_registered_encoder_that_cannot_be_imported(monkeypatch):
    monkeypatch.setattr(own, "entry_points", lambda group: [Point()])
    own.registered.cache_clear()
    try:
        with pytest.raises(RecosegError, match="colours of the package own-package cannot be imp"):
            build_phi("colours", COMPUTE)
    finally:
        own.registered.cache_clear()
