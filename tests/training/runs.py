"""Blocks of colours with masks, and recipes that train on them within seconds."""

import numpy as np
import torch
from PIL import Image

from recoseg.training.recipe import recipe
from recoseg.training.trainer import Machines, train
from recoseg.training.training_set import open_masks

NAMES = ("red", "green", "blue")
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
ENCODER = "timm:test_efficientnet=random"
CPU = Machines("cpu")


def blocks(seed, rows=3, columns=4, side=24):
    """A photo whose colours say its labels, and the labels."""
    labels = np.random.default_rng(seed).integers(0, 3, (rows, columns)).astype(np.uint8)
    labels = labels.repeat(side, 0).repeat(side, 1)
    return Image.fromarray(COLOURS[labels]), labels


def write_pairs(root, count=6, **sizes):
    (root / "images").mkdir(parents=True)
    (root / "masks").mkdir()
    for number in range(count):
        image, labels = blocks(number, **sizes)
        image.save(root / f"images/{number}.png")
        Image.fromarray(labels).save(root / f"masks/{number}.png")
    (root / "classes.txt").write_text("\n".join(NAMES) + "\n")
    return open_masks(root / "masks", root / "images")


def quick(**changes):
    given = {
        "encoder": ENCODER,
        "iterations": 6,
        "batch_size": 4,
        "crop": 32,
        "short_side": 48,
        "keep": "last",
        **changes,
    }
    return recipe("short", **given)


def files(folder):
    """Paths of all files of a folder, relative to it."""
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def same(one, other):
    """Whether two models have equal weights."""
    one, other = one.network.state_dict(), other.network.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def resume(folder, data, **changes):
    """Continue a quick run."""
    return train(data, quick(**changes), folder, machines=CPU, checkpoint_every=2, resume=True)
