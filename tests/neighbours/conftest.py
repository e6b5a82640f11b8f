"""Three colours, a bank of them, and a photo with their regions."""

import numpy as np
import pytest
import torch

import recoseg
from tests.segmentation.fakes import COLOURS, ColourEncoder, make_bank

NAMES = ("red", "green", "blue")


def options():
    return {"phi": ColourEncoder(4), "saliency": ColourEncoder(6)}


@pytest.fixture(scope="session")
def bank():
    return make_bank()


@pytest.fixture(scope="session")
def photo():
    """RGB (36, 48, 3): a green ground, two red parts, and a blue one with a hole."""
    pixels = np.full((36, 48, 3), COLOURS["green"], np.uint8)
    pixels[:12, :12] = COLOURS["red"]
    pixels[24:, 36:] = COLOURS["red"]
    pixels[0:24, 18:42] = COLOURS["blue"]
    pixels[6:12, 24:30] = COLOURS["green"]
    return pixels


@pytest.fixture(scope="session")
def result(bank, photo):
    """What recoseg itself makes of the photo."""
    torch.set_num_threads(1)
    return recoseg.open_segmenter(bank, **options())(photo)
