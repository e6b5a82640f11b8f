"""Values of masks to labels, and what is said of masks that cannot be used."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recoseg.datasets.masks import counted, decode_values, mask_code, one_channel, to_labels
from recoseg.datasets.pairs import read_target
from recoseg.errors import BadImageError
from recoseg.photos.images import upright_size

from .trees import HEIGHT, WIDTH, mask, photo


def png(array: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def test_palette_files_give_indices():
    image = Image.fromarray(np.array([[0, 1, 255]], np.uint8))
    image.putpalette([9, 9, 9] * 256)
    out = io.BytesIO()
    image.save(out, "PNG")
    assert decode_values(out.getvalue()).tolist() == [[0, 1, 255]]


def test_sixteen_bits_and_one_bit():
    code = counted(3)
    wide = np.array([[0, 2, 255]], np.uint16)
    assert to_labels(decode_values(png(wide)), code, (1, 3)).tolist() == [[0, 2, 255]]
    two = np.array([[True, False]])
    assert to_labels(decode_values(png(two)), code, (1, 2)).tolist() == [[1, 0]]
    with pytest.raises(BadImageError, match="are not labels: 3, 1000; expected 0 to 2, 255"):
        to_labels(np.array([[3, 1000]], np.uint16), code, (1, 2))
    with pytest.raises(BadImageError, match="are not labels: -1;"):
        to_labels(np.array([[-1, 0]], np.int32), code, (1, 2))


def test_values_outside_are_listed_shortly():
    with pytest.raises(
        BadImageError, match=r"not labels: 3, 4, 5, 6, 7, \.\.\.; expected 0 to 2, 255"
    ):
        to_labels(np.arange(9, dtype=np.uint8)[None], counted(3), (1, 9))


def test_other_values_may_have_a_label():
    code = mask_code({4: 1}, ignored=(255,), others=0)
    assert to_labels(np.array([[0, 4, 9, 255]]), code, (1, 4)).tolist() == [[0, 1, 0, 255]]


def test_size_must_be_the_photos():
    with pytest.raises(BadImageError, match=r"2 x 3 pixels \(height x width\), the photo 3 x 2"):
        to_labels(np.zeros((2, 3), np.uint8), counted(1), (3, 2))


def test_numbers_must_be_integers():
    with pytest.raises(BadImageError, match="numbers of type float32"):
        to_labels(np.zeros((1, 1), np.float32), counted(1), (1, 1))


def test_channels():
    grey = np.repeat(np.array([[1, 2]], np.uint8)[..., None], 3, axis=2)
    assert one_channel(grey).tolist() == [[1, 2]]
    colours = grey * np.array([1, 2, 3], np.uint8)
    assert one_channel(colours, 1).tolist() == [[2, 4]]
    with pytest.raises(BadImageError, match="convert coloured masks to class indices"):
        one_channel(colours)
    with pytest.raises(BadImageError, match="in channel 0 of a colour picture"):
        one_channel(grey[..., 0], 0)


def test_lossy_and_damaged_files_are_refused(tmp_path):
    path = photo(tmp_path / "a.jpg")
    for data in (path.read_bytes(), b"\x89PNG nothing"):
        with pytest.raises(BadImageError, match="not a PNG, BMP or TIFF file"):
            decode_values(data)
    with pytest.raises(BadImageError, match="its mask: the file is empty"):
        decode_values(b"")


def test_files_of_a_pair(tmp_path):
    picture, labels = photo(tmp_path / "a.png"), tmp_path / "m.png"
    with pytest.raises(BadImageError, match="its mask: cannot be read: No such file"):
        read_target(labels, counted(2), picture)
    mask(labels, [1, 0])
    assert read_target(labels, counted(2), picture).shape == (HEIGHT, WIDTH)
    with pytest.raises(BadImageError, match="cannot be read: No such file"):
        read_target(labels, counted(2), tmp_path / "b.png")
    (tmp_path / "c.png").write_text("no picture")
    with pytest.raises(BadImageError, match="not an image of a known format"):
        upright_size(tmp_path / "c.png")


@pytest.mark.parametrize(("orientation", "size"), [(1, (5, 3)), (3, (5, 3)), (6, (3, 5))])
def test_size_is_that_of_the_upright_photo(tmp_path, orientation, size):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (3, 5)).save(tmp_path / "a.jpg", exif=exif)
    assert upright_size(tmp_path / "a.jpg") == size
    assert upright_size((tmp_path / "a.jpg").read_bytes()) == size


def test_numbers_that_are_not_integers_are_refused(tmp_path):
    Image.fromarray(np.ones((3, 4), np.float32)).save(tmp_path / "m.tiff")
    for source in (tmp_path / "m.tiff", (tmp_path / "m.tiff").read_bytes()):
        with pytest.raises(BadImageError, match="numbers of type float32, not integers"):
            decode_values(source)
    with pytest.raises(BadImageError, match="numbers of type object"):
        one_channel(np.array([[1, None]]))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes by name here")
@pytest.mark.timeout(60)
def test_masks_and_photos_that_are_no_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    picture = photo(tmp_path / "a.png")
    for place in (tmp_path / "pipe.png", Path("/dev/zero"), tmp_path):
        with pytest.raises(BadImageError, match="its mask: cannot be read: not a regular file"):
            read_target(place, counted(2), picture)
        with pytest.raises(BadImageError, match="cannot be read: not a regular file"):
            upright_size(place)


def test_files_of_masks_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("recoseg.photos.files.MAX_BYTES", 50)
    (tmp_path / "m.png").write_bytes(bytes(60))
    with pytest.raises(BadImageError, match="its mask: more than 50 bytes"):
        decode_values(tmp_path / "m.png")
    monkeypatch.undo()
    monkeypatch.setattr("recoseg.photos.opening.MAX_PIXELS", 9)
    with pytest.raises(BadImageError, match="its mask: more than 9 pixels"):
        decode_values(png(np.zeros((4, 4), np.uint8)))
