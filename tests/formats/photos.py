"""Photos and masks for the tests of formats: holes, thin parts, 171 classes and odd names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

from recoseg.classes import class_list

CLASSES = 171
ODD = (
    'a & b <c> "q"',
    "it's; fine, ok",
    "日本語 🐈",
    "x: y",
    "# hash",
    "- dash",
    "yes",
    "{a}: [1]",
)
NAMES = (*ODD, *(f"class {number}" for number in range(len(ODD), CLASSES)))
_FOLDERS = ("", "a/", "a/b c/", "ünï cödé/", "images/")
_LEAVES = ("photo", "fish & chips", "100 % #1", "q;x,y", "ü")


def label_map(number: int, classes: int = CLASSES) -> np.ndarray:
    """A label map with holes, lines of one pixel and parts that touch by corners alone."""
    rng = np.random.default_rng(number)
    background = 255 if classes <= 255 else 65535
    if number == 0:
        return np.full((1, 1), classes - 1, np.uint16 if classes > 255 else np.uint8)
    height, width = rng.integers(12, 40, 2)
    fields = [gaussian_filter(rng.normal(size=(height, width)), 3) for _ in range(6)]
    chosen = rng.choice(classes, 6, replace=False)
    labels = chosen[np.argmax(fields, 0)]
    labels[rng.random(labels.shape) < 0.02] = background  # holes of one pixel
    labels[height // 2] = chosen[0]
    short = min(height, width)
    labels[np.arange(short), np.arange(short)] = chosen[1]
    labels[2:6, 3:8] = chosen[2]
    labels[3:5, 4:7] = background
    labels[3, 5] = chosen[3]  # an island in a hole
    if number == 1:
        labels[:] = background
    if number == 2:
        labels[:] = chosen[0]
    return labels.astype(np.uint16 if classes > 255 else np.uint8)


def name_of(number: int) -> str:
    """The name of a photo; some have the same leaf in different folders."""
    leaf = "same" if number in (3, 4) else f"{_LEAVES[number % 5]} {number}"
    return f"{_FOLDERS[number % 5]}{leaf}"


def write_photos(root: Path, count: int, names=NAMES) -> dict[str, np.ndarray]:
    """Write `images`, `masks` and `classes.txt`; returns the label maps by name."""
    found = {}
    for number in range(count):
        labels = label_map(number, len(names))
        name = name_of(number)
        rng = np.random.default_rng(number)
        image = Image.fromarray(rng.integers(0, 256, (*labels.shape, 3), np.uint8))
        for folder, picture, suffix in (
            ("images", image, ".jpg" if number % 2 else ".png"),
            ("masks", Image.fromarray(labels), ".png"),
        ):
            path = root / folder / f"{name}{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture.save(path)
        found[name] = labels
    (root / "masks" / "classes.txt").write_text(class_list(names), encoding="utf-8")
    return found
