"""Small folders of generated photos."""

import numpy as np
import pytest
from PIL import Image

from tests.archive.fake_encoder import FakeEncoder


def make_photo(seed, width=20, height=16):
    """A smooth random photo; equal seeds give equal pixels."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 5, 3)).astype(np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def make_folder(folder, count, first=0):
    """`count` PNG photos, every third in a subfolder."""
    for number in range(first, first + count):
        place = folder / "deep" / "er" if number % 3 == 2 else folder
        place.mkdir(parents=True, exist_ok=True)
        make_photo(number).save(place / f"photo{number}.png")
    return folder


@pytest.fixture
def encoder():
    return FakeEncoder()


@pytest.fixture
def photos(tmp_path):
    return make_folder(tmp_path / "photos", 23)
