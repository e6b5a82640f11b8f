"""Photos, masks and folders of the situations, and what a run has written."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CLASSES = ("tree", "car", "dog")


def pixels(height=40, width=56, seed=0):
    """A smooth picture, which differs for each seed."""
    y, x = np.mgrid[:height, :width]
    parts = [(x * (3 + seed) + 31 * seed) % 256, (y * 5) % 256, (x + y * (2 + seed)) % 256]
    return np.stack(parts, -1).astype(np.uint8)


def photo(path, height=40, width=56, seed=0, form=None, **options):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(height, width, seed)).save(path, form, **options)
    return path


def labels(height=40, width=56):
    """Class 0 with a rectangle of class 1."""
    values = np.zeros((height, width), np.uint8)
    values[height // 4 : height // 2, width // 4 : width // 2] = 1
    return values


def data_set(root, photos=(), classes=CLASSES):
    """A labelled data set whose masks are missing yet."""
    for name in photos:
        photo(root / "images" / name)
    (root / "masks").mkdir(parents=True, exist_ok=True)
    (root / "classes.txt").write_text("\n".join(classes) + "\n", encoding="utf-8")
    return root


def mask(root, name, values=None):
    path = root / "masks" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(labels() if values is None else values).save(path)


def chunk(kind, body):
    crc = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + crc


def grey_png(values, bits):
    """A grey PNG of few bits per pixel, whose numbers are the values."""
    height, width = values.shape
    rows = b""
    for row in values:
        padded = np.pad(row, (0, -width % (8 // bits))).reshape(-1, 8 // bits).astype(np.uint16)
        shifted = padded << (8 - bits * (1 + np.arange(8 // bits)))
        rows += b"\0" + shifted.sum(1).astype(np.uint8).tobytes()
    head = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return SIGNATURE + body


def lines(folder):
    """The lines of a run by the names of the photos' files."""
    text = (folder / "segmentations.jsonl").read_text(encoding="utf-8")
    found = [json.loads(line) for line in text.split("\n") if line]
    return {Path(line["path"]).name: line for line in found if "files" in line}


def label_map(folder, name):
    """The label map that a run has written of the photo with this file name."""
    return np.asarray(Image.open(folder / lines(folder)[name]["files"]["labels"]))
