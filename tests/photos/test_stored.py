"""Numbers in image files are read as they are stored, whatever a decoder makes of them for eyes."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from recoseg.datasets.masks import decode_values
from recoseg.errors import BadImageError
from recoseg.photos.opening import open_image
from recoseg.photos.stored import stored_values
from recoseg.regions.files import read_regions


def packed(values, bits):
    """Rows of numbers of a few bits each, padded to whole bytes."""
    each = 8 // bits
    rows = np.pad(values, ((0, 0), (0, -values.shape[1] % each))).reshape(len(values), -1, each)
    return (rows.astype(int) << (8 - bits * (1 + np.arange(each)))).sum(2).astype(np.uint8)


def png(rows, width, bits, colour=0):
    """A PNG of rows of bytes; `colour` is 0 for grey, 2 for RGB and 4 for grey with alpha."""

    def chunk(kind, data):
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    data = b"".join(b"\0" + bytes(row) for row in rows)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def tiff(rows, width, bits, zero_is_white=False, samples=1):
    """A TIFF of one strip without compression."""
    data = b"".join(bytes(row) for row in rows)
    tags = {
        **{256: width, 257: len(rows), 258: bits, 259: 1, 262: 2 if samples == 3 else 1},
        **{273: 8, 277: samples, 278: len(rows), 279: len(data)},
    }
    if zero_is_white:
        tags[262] = 0
    data += b"\0" * (len(data) % 2)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    table = struct.pack("<H", len(tags)) + entries + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + table


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("write", [png, tiff])
@pytest.mark.parametrize("width", [16, 13])
def test_grey_of_few_bits(bits, write, width, tmp_path):
    values = np.random.default_rng(bits).integers(0, 2**bits, (6, width))
    data = write(packed(values, bits), width, bits)
    np.testing.assert_array_equal(decode_values(data), values)
    if write is png:  # regions are numbered from 1 in the order of their labels
        (tmp_path / "a.png").write_bytes(data)
        regions = read_regions(tmp_path / "a.png").numpy()
        numbers = np.cumsum(np.isin(np.arange(16), values[values > 0]))
        np.testing.assert_array_equal(regions, numbers[values] * (values > 0))


def test_grey_whose_zero_is_white_counts_from_black():
    values = np.arange(16).reshape(2, 8)
    data = tiff(packed(15 - values, 4), 8, 4, zero_is_white=True)
    np.testing.assert_array_equal(decode_values(data), values)


@pytest.mark.parametrize("colours", [2, 4, 16])
@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF"])
def test_indices_of_palettes(colours, form):
    values = np.arange(24).reshape(3, 8) % colours
    image = Image.fromarray(values.astype(np.uint8))
    image.putpalette([3, 99, 7] * colours)
    out = io.BytesIO()
    image.save(out, form)
    np.testing.assert_array_equal(decode_values(out.getvalue()), values)


def test_a_bmp_of_few_greys():
    image = Image.fromarray(np.arange(16, dtype=np.uint8)[None])
    image.putpalette([value for level in range(16) for value in (level,) * 3])
    out = io.BytesIO()
    image.save(out, "BMP")
    assert decode_values(out.getvalue()).tolist() == [list(range(16))]


@pytest.mark.parametrize(
    "data",
    [
        png(np.zeros((2, 3 * 6), np.uint8), 3, 16, colour=2),
        png(np.zeros((2, 3 * 4), np.uint8), 3, 16, colour=4),
    ],
)
def test_colour_of_sixteen_bits_is_refused(data):
    with pytest.raises(BadImageError, match="its mask: several channels of 16 bits"):
        decode_values(data)


def test_grey_of_sixteen_bits_is_read_whole():
    values = np.array([[0, 1, 65_535]], ">u2")
    assert decode_values(png(values.view(np.uint8), 3, 16)).tolist() == values.tolist()


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_transparency_beside_labels_is_left_out(mode):
    labels = np.array([[0, 1, 2, 255]], np.uint8)
    grey, alpha = Image.fromarray(labels), Image.fromarray(labels[:, ::-1].copy())
    image = Image.merge("RGBA", (grey, grey, grey, alpha)) if mode == "RGBA" else grey.convert("LA")
    if mode == "LA":
        image.putalpha(alpha)
    out = io.BytesIO()
    image.save(out, "PNG")
    assert decode_values(out.getvalue()).tolist() == labels.tolist()


def test_photos_are_still_shown_in_their_full_range():
    data = png(packed(np.arange(16)[None], 4), 16, 4)
    with open_image(data) as image:
        assert np.asarray(image).tolist() == [[17 * value for value in range(16)]]
    with open_image(data) as image:
        assert stored_values(image).tolist() == [list(range(16))]
