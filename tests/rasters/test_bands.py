"""From bands of every kind to 8-bit RGB and what holds data, by hand."""

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import BadImageError
from recoseg.rasters.bands import BandReader
from recoseg.rasters.boxes import Box
from recoseg.rasters.opening import open_raster

from .scenes import colours, rasterio, write

HEIGHT, WIDTH = 70, 90


def read(path, bands=(), box=None):
    with open_raster(path) as raster:
        reader = BandReader.of(raster, bands)
        return reader.read(box or Box(0, 0, *reader.size))


@pytest.fixture
def picture():
    rasterio()
    return colours(HEIGHT, WIDTH)


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_colours_stay_as_they_are(picture, tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(picture).save(path)
    rgb, valid = read(path)
    assert np.array_equal(rgb, picture)
    assert valid.all()
    part, _ = read(path, box=Box(11, 20, 30, 41))
    assert np.array_equal(part, picture[11:41, 20:61])


def test_transparency_lies_on_white_as_in_photos(picture, tmp_path):
    opacity = np.full((HEIGHT, WIDTH), 255, np.uint8)
    opacity[:20], opacity[20:40] = 0, 128
    image = Image.fromarray(np.dstack([picture, opacity]))
    image.save(tmp_path / "a.png")
    rgb, valid = read(tmp_path / "a.png")
    assert np.array_equal(valid, opacity > 0)
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    expected = np.asarray(Image.alpha_composite(white, image).convert("RGB")).astype(int)
    assert np.abs(rgb.astype(int) - expected).max() <= 1


def test_grey_and_palette(picture, tmp_path):
    grey = picture[..., 0]
    rgb, _ = read(write(tmp_path / "grey.tif", grey[None]))
    assert np.array_equal(rgb, np.repeat(grey[..., None], 3, 2))
    table = {value: (value, 255 - value, 7, 255) for value in range(256)}
    path = write(tmp_path / "p.tif", grey[None], colormap=table, photometric="palette")
    rgb, _ = read(path)
    assert np.array_equal(rgb, np.dstack([grey, 255 - grey, np.full_like(grey, 7)]))


def test_a_value_without_data_and_a_mask(picture, tmp_path):
    values = picture.transpose(2, 0, 1).clip(1)
    values[:, :9] = 0
    _, valid = read(write(tmp_path / "value.tif", values, nodata=0))
    assert np.array_equal(valid, np.arange(HEIGHT)[:, None].repeat(WIDTH, 1) >= 9)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:, 5:] = True
    _, valid = read(write(tmp_path / "mask.tif", values, mask=mask))
    assert np.array_equal(valid, mask)


def test_sixteen_bits_are_scaled_by_percentiles(picture, tmp_path):
    values = (picture.astype(np.uint16) * 20 + 300).transpose(2, 0, 1)
    values[:, 0, 0] = 60_000  # an outlier
    rgb, _ = read(write(tmp_path / "a.tif", values))
    for channel, band in zip(rgb.transpose(2, 0, 1), values.astype(float), strict=True):
        low, high = np.percentile(band, (2, 98))
        expected = np.clip((band - low) / (high - low) * 255, 0, 255)
        assert np.abs(channel - expected).max() <= 0.51


def test_floats_that_are_no_numbers_hold_nothing(picture, tmp_path):
    values = picture.transpose(2, 0, 1).astype(np.float32) / 255
    values[1, 3:7] = np.nan
    values[0, 40, 5] = np.inf
    rgb, valid = read(write(tmp_path / "a.tif", values))
    expected = np.ones((HEIGHT, WIDTH), bool)
    expected[3:7] = False
    expected[40, 5] = False
    assert np.array_equal(valid, expected)
    assert (rgb[~valid] == 255).all()
    empty, valid = read(write(tmp_path / "b.tif", np.full_like(values, np.nan)))
    assert not valid.any()
    assert (empty == 255).all()


def test_bands_are_chosen(picture, tmp_path):
    values = np.arange(5, dtype=np.uint8)[:, None, None] + np.zeros((5, 8, 9), np.uint8)
    path = write(tmp_path / "a.tif", values)
    assert read(path)[0][0, 0].tolist() == [0, 1, 2]
    assert read(path, (4, 3, 2))[0][0, 0].tolist() == [3, 2, 1]
    assert read(path, (5,))[0][0, 0].tolist() == [4, 4, 4]
    with pytest.raises(BadImageError, match="has 5 bands, numbered from 1, and no band 6"):
        read(path, (1, 2, 6))
    meanings = rasterio().enums.ColorInterp
    order = [meanings.undefined, meanings.blue, meanings.green, meanings.red, meanings.undefined]
    assert read(write(tmp_path / "b.tif", values, colorinterp=order))[0][0, 0].tolist() == [3, 2, 1]


def test_colours_of_print_are_those_of_photos(picture, tmp_path):
    image = Image.fromarray(np.dstack([picture, 255 - picture[..., 1]]), "CMYK")
    image.save(tmp_path / "a.tif")
    rgb, valid = read(tmp_path / "a.tif")
    assert valid.all()
    assert np.abs(rgb.astype(int) - np.asarray(image.convert("RGB"))).max() <= 1
    wide = write(tmp_path / "b.tif", np.zeros((4, 8, 9), np.uint16), photometric="cmyk")
    with pytest.raises(BadImageError, match="has the colours of print"):
        read(wide)


def test_complex_values_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", np.zeros((1, 8, 9), np.complex64))
    with pytest.raises(BadImageError, match="has complex values; save their magnitudes"):
        read(path)


def test_damaged_and_foreign_files_are_refused(picture, tmp_path):
    path = write(tmp_path / "a.tif", picture.transpose(2, 0, 1), compress="deflate")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(BadImageError, match="damaged: "):
        read(path)
    path.write_bytes(b"<VRTDataset/>")
    with pytest.raises(BadImageError, match="expected a file of TIFF, JPEG, PNG or JPEG 2000"):
        read(path)
    with pytest.raises(BadImageError, match="cannot be read: "):
        read(tmp_path / "none.tif")


def test_a_photo_that_exif_turns_is_refused(picture, tmp_path):
    image = Image.fromarray(picture)
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "a.jpg", exif=exif)
    with pytest.raises(BadImageError, match=r"turned by EXIF \(orientation 6\)"):
        read(tmp_path / "a.jpg")


def test_blocks_that_are_too_large_are_refused(picture, tmp_path, monkeypatch):
    path = write(tmp_path / "a.tif", picture.transpose(2, 0, 1))
    monkeypatch.setattr("recoseg.rasters.opening.MAX_BLOCK", 1000)
    with pytest.raises(BadImageError, match=r"blocks of 64 x 64 pixels.*save it in tiles"):
        read(path)
