"""Blocks of colours with masks, and recipes that train on them within seconds."""

import numpy as np
from PIL import Image

from recoseg.training.recipe import recipe
from recoseg.training.training_set import open_masks

NAMES = ("red", "green", "blue")
COLOURS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
ENCODER = "timm:test_efficientnet=random"


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
