"""Calls of the command line on a labelled folder, an index of its photos, and a bank."""

import json

import numpy as np
from PIL import Image

from tests.command import run

CLASSES = ("sky", "grass", "brick wall")
SIZES = [(64, 96), (96, 64), (64, 96), (80, 112)]
FAST = ("--device", "cpu", "--precision", "fp32")


def learn(root, classes, bank, *arguments):
    return run(
        *("learn", root / "index", "--classes", classes, "--out", root / f"{bank}.safetensors"),
        *("-k", 2, "--context", "none", "--image-size", 64, *FAST, *arguments),
    )


def evaluate(session, *arguments, data="data", bank=True):
    banks = [session / "bank.safetensors", "--resize", 64] if bank else []
    return run(
        *("evaluate", *banks, "--dataset", "folder", "--root", session / data),
        *(*FAST, *arguments),
    )


def masks(session, out, *arguments):
    """The label maps that `recoseg segment` writes, by the names of the photos."""
    done = run(
        *("segment", session / "bank.safetensors", session / "data/images", "--out", session / out),
        *("--no-overlays", "--resize", 64, *FAST, *arguments),
    )
    assert done.code == 0, done.err
    return [np.asarray(Image.open(session / out / "labels/town" / f"{n}.png")) for n in range(4)]


def counts_of(folder):
    fields = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    return np.array(fields["counts"]), fields
