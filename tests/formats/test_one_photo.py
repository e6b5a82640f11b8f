"""One photo in memory becomes the files that `recoseg segment --format` writes for it."""

import io

import numpy as np
import pytest
from PIL import Image

import recoseg
from recoseg.errors import BadImageError, UnknownNameError
from recoseg.formats.format_table import FORMATS
from recoseg.formats.one_photo import files_of_photo
from recoseg.segmentation.bank_segmenter import bank_segmenter
from tests.segmentation.fakes import ColourEncoder, make_bank

LIGHT = [name for name in FORMATS if name != "huggingface"]


@pytest.fixture(scope="module")
def photo():
    pixels = np.zeros((40, 56, 3), np.uint8)
    pixels[:, :30, 0], pixels[12:30, 20:, 2] = 255, 255
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def segmenter():
    return bank_segmenter(make_bank(), phi=ColourEncoder(4), saliency=ColourEncoder(6))


def test_the_files_are_those_of_a_run(photo, segmenter, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(photo)
    recoseg.segment(segmenter, tmp_path / "photo.jpg", tmp_path / "out", formats=LIGHT)
    segmentation = segmenter(photo).segmentation
    for name in LIGHT:
        root = tmp_path / "out/formats" / name
        expected = {
            path.relative_to(root).as_posix(): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }
        found = files_of_photo(segmentation, photo, name)
        assert found == expected, name
        assert expected


def test_what_cannot_be_written(photo, segmenter):
    segmentation = segmenter(photo).segmentation
    with pytest.raises(UnknownNameError, match="Unknown format 'gif'"):
        files_of_photo(segmentation, photo, "gif")
    other = io.BytesIO()
    Image.new("RGB", (8, 8)).save(other, "PNG")
    with pytest.raises(BadImageError, match="its mask is 40 x 56"):
        files_of_photo(segmentation, other.getvalue(), "labelme")
