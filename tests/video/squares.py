"""Two green squares that move over a blue ground and a red one that rests, and who follows them."""

import numpy as np
import torch
from skimage.measure import label

from recoseg.pipeline.segment import open_segmenter
from tests.segmentation.fakes import COLOURS, ColourEncoder, make_bank

HW = (48, 96)
SIDE, STEP = 12, 4
"""Side of the squares and how far they move from frame to frame, pixels."""

ROWS = (4, 28)
NAMES = ("red", "green", "blue")


def corners(number):
    """Top left corners of the green squares, then of the red one."""
    return [(row, STEP * number) for row in ROWS] + [(16, 80)]


def picture(number):
    pixels = np.full((*HW, 3), COLOURS["blue"], np.uint8)
    for (top, left), name in zip(corners(number), ("green", "green", "red"), strict=True):
        pixels[top : top + SIDE, left : left + SIDE] = COLOURS[name]
    return pixels


def segmenter():
    """Labels each cell of 4 x 4 pixels by its mean colour; blue is background."""
    bank = make_bank(NAMES, 4, 4)
    one = ColourEncoder(4)
    return open_segmenter(bank, phi=one, saliency=one, background=("blue",), precision="fp32")


class ColourTracker:
    """Follows each part to the part of the next frame of the same colour that it overlaps most."""

    def __init__(self):
        self.settings = {"name": "colour"}
        self.seen, self.begun = 0, []

    def see(self, image):
        self.seen += 1
        self._strongest = np.asarray(image.convert("RGB")).argmax(2)

    def begin(self, parts, count):
        assert parts.max(initial=0) == count
        self.begun.append(self.seen - 1)
        self._masks = [parts == one for one in range(1, count + 1)]
        self._colours = [int(np.median(self._strongest[mask])) for mask in self._masks]

    def masks(self):
        found = []
        for mask, colour in zip(self._masks, self._colours, strict=True):
            parts = label(self._strongest == colour, connectivity=1)
            counts = np.bincount(parts[mask], minlength=2)
            best = 1 + int(counts[1:].argmax())
            found.append((parts == best) if counts[best] else np.zeros_like(mask))
        self._masks = found
        stacked = np.stack(found) if found else np.zeros((0, *HW))
        return torch.from_numpy(stacked).float() * 2 - 1
