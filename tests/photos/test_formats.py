"""Formats beyond the usual: what can be read is read, and the others say why they are not."""

import io
import struct

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import BadImageError
from recoseg.photos import opening
from recoseg.photos.frame import Frame
from recoseg.photos.images import decode_for, decode_image, upright_size
from recoseg.photos.jxl import jxl_size
from recoseg.photos.load import load_frame, load_whole
from recoseg.photos.opening import MissingDecoderError
from recoseg.photos.raw import raw_preview
from recoseg.photos.refs import IMAGE_SUFFIXES, Photo


def colours(height=48, width=64):
    y, x = np.mgrid[:height, :width]
    return np.stack([3 * x, 4 * y, (x + y) % 256], -1).astype(np.uint8)


def directory(entries, start, following=0):
    """A directory of a TIFF at an offset, with the values of its tags after it."""
    body, values = b"", b""
    after = start + 2 + 12 * len(entries) + 4
    for tag, (form, numbers) in sorted(entries.items()):
        letter = {1: "B", 3: "H", 4: "I"}[form]
        packed = struct.pack(f"<{len(numbers)}{letter}", *numbers)
        if len(packed) > 4:
            place, values = after + len(values), values + packed
            packed = struct.pack("<I", place)
        body += struct.pack("<HHI", tag, form, len(numbers)) + packed.ljust(4, b"\0")
    return struct.pack("<H", len(entries)) + body + struct.pack("<I", following) + values


def tiff(values, kind=1):
    """A TIFF of one strip; `kind` is 1 for whole numbers and 3 for floats."""
    height, width = values.shape[:2]
    bands = 1 if values.ndim == 2 else values.shape[2]
    data = values.tobytes()
    entries = {
        **{256: (4, [width]), 257: (4, [height]), 258: (3, [8 * values.itemsize] * bands)},
        **{259: (3, [1]), 262: (3, [2 if bands > 2 else 1]), 273: (4, [8]), 277: (3, [bands])},
        **{278: (4, [height]), 279: (4, [len(data)]), 284: (3, [1]), 339: (3, [kind] * bands)},
    }
    return struct.pack("<2sHI", b"II", 42, 8 + len(data)) + data + directory(entries, 8 + len(data))


def jpeg(values):
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", quality=95)
    return file.getvalue()


def dng(previews, orientation=1, sensor=True, version=True):
    """A raw photo: a thumbnail, previews in JPEG in directories below it, and the sensor's."""
    parts, at = [], 8
    for content in (bytes(48), *previews, bytes(64)):
        parts.append((at, content))
        at += len(content)
    (thumb, _), *middle, (pixels, _) = parts
    below = []
    offsets = []
    for start, content in middle:
        entries = {254: (4, [1]), 256: (4, [9]), 257: (4, [9]), 259: (3, [7]), 262: (3, [6])}
        below.append({**entries, 273: (4, [start]), 279: (4, [len(content)])})
    if sensor:
        raw = {254: (4, [0]), 256: (4, [8]), 257: (4, [8]), 258: (3, [8]), 259: (3, [1])}
        below.append({**raw, 262: (3, [32803]), 273: (4, [pixels]), 279: (4, [64])})
    written = b""
    for entries in below:
        offsets.append(at + len(written))
        written += directory(entries, offsets[-1])
    first = {254: (4, [1]), 256: (4, [4]), 257: (4, [4]), 258: (3, [8, 8, 8]), 259: (3, [1])}
    first |= {262: (3, [2]), 273: (4, [thumb]), 274: (3, [orientation]), 277: (3, [3])}
    first |= {278: (4, [4]), 279: (4, [48]), 330: (4, offsets)}
    if version:
        first[50706] = (1, [1, 4, 0, 0])
    head = struct.pack("<2sHI", b"II", 42, at + len(written))
    body = b"".join(content for _, content in parts)
    return head + body + written + directory(first, at + len(written))


def near(found, expected):
    return (
        found.size == expected.size
        and np.abs(np.asarray(found).astype(int) - np.asarray(expected)).mean() < 4
    )


def test_the_largest_preview_of_a_raw_photo_is_used_upright():
    large, small = colours(480, 700), colours(330, 650)[:, ::-1]
    for previews in ((jpeg(small), jpeg(large)), (jpeg(large), jpeg(small))):
        assert near(decode_image(dng(previews)), Image.fromarray(large))
    turned = dng([jpeg(large)], orientation=6)
    assert near(decode_image(turned), Image.fromarray(np.rot90(large, -1)))
    assert upright_size(turned) == (700, 480)
    assert decode_for(turned, Frame(8))[1] == (480, 700)
    assert near(decode_image(dng([jpeg(large)], version=False)), Image.fromarray(large))


@pytest.mark.parametrize("previews", [[], [jpeg(colours())], [b"\xff\xd8\xff\xc3" + bytes(40)]])
def test_a_thumbnail_is_not_taken_for_a_raw_photo(previews):
    with pytest.raises(BadImageError, match="raw photo without a preview in JPEG that is large"):
        decode_image(dng(previews))


def test_other_tiffs_have_no_preview():
    assert raw_preview(dng([jpeg(colours(480, 700))], sensor=False, version=False)) is None
    assert raw_preview(tiff(colours())) is None
    assert raw_preview(jpeg(colours())) is None


def test_damaged_raw_photos_are_left_out():
    whole = dng([jpeg(colours(480, 700))])
    for data in (whole[:200], whole[:-40], whole[:-200], b"II*\0" + bytes(50)):
        with pytest.raises(BadImageError):
            decode_image(data)
    loop = bytearray(tiff(colours(8, 8)))
    end = struct.unpack("<I", loop[4:8])[0]
    loop[end + 2 + 12 * 11 : end + 2 + 12 * 11 + 4] = struct.pack("<I", end)
    assert raw_preview(bytes(loop)) is None, "directories that follow each other in a ring"


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        (np.zeros((4, 6, 5), np.uint8), 1, "a TIFF of 5 bands of 8 bits, compression 1"),
        (np.zeros((4, 6, 3), np.float32), 3, "a TIFF of 3 bands of 32 bits, float"),
        (np.zeros((4, 6, 2), np.uint16), 1, "a TIFF of 2 bands of 16 bits"),
        (np.zeros((4, 6), np.float64), 3, "a TIFF of 1 band of 64 bits, float"),
    ],
)
def test_unusual_bands_are_refused_by_name(values, kind, words):
    with pytest.raises(BadImageError, match=f"^{words}.*expected grey, RGB or RGBA") as caught:
        decode_image(tiff(values, kind))
    assert "red, green and blue" in str(caught.value)


@pytest.mark.parametrize("bands", [3, 4])
def test_sixteen_bits_per_band(bands):
    values = np.concatenate([colours(), np.full((48, 64, 1), 255, np.uint8)], -1)[..., :bands]
    found = np.asarray(decode_image(tiff(values.astype(np.uint16) * 257)))
    np.testing.assert_array_equal(found, colours())


def test_grey_of_sixteen_bits_and_floats():
    grey = colours()[..., 0]
    for values, kind in ((grey.astype(np.uint16) * 257, 1), (grey.astype(np.float32) / 255, 3)):
        found = np.asarray(decode_image(tiff(values, kind)))[..., 0]
        assert np.abs(found.astype(int) - grey).max() <= 1


def test_of_several_pages_the_first_is_used():
    file = io.BytesIO()
    first, second = Image.fromarray(colours()), Image.new("RGB", (90, 20))
    first.save(file, "TIFF", save_all=True, append_images=[second])
    np.testing.assert_array_equal(np.asarray(decode_image(file.getvalue())), colours())


@pytest.mark.parametrize(
    "start", [b"FUJIFILMCCD-RAW ", b"IIRO\x08\0", b"\0\0\0\x18ftypcrx \0\0\0\1"]
)
def test_raw_photos_of_cameras_are_named(start):
    with pytest.raises(BadImageError, match="a raw photo of a camera, which is not read; export"):
        decode_image(start + bytes(100))


@pytest.mark.parametrize(
    "start",
    [
        *(b"\0\0\0\x18ftypqt  ", b"\0\0\0\x20ftypisom", b"\0\0\0\x08wide", b"FLV\x01"),
        *(b"RIFF\0\1\0\0AVI LIST", b"\x1a\x45\xdf\xa3\x01", b"\0\0\x01\xba"),
    ],
)
def test_films_are_named(start):
    with pytest.raises(BadImageError, match=r"a film, not a photo; .* `recoseg segment --video`"):
        decode_image(start + bytes(100))


@pytest.mark.parametrize("data", [b"<html>404</html>", b"\0\0\0\x18ftypxxxx", bytes(50)])
def test_other_files_are_no_images(data):
    with pytest.raises(BadImageError, match="not an image of a known format"):
        decode_image(data)


AVIF = b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf"
JXL = b"\xff\x0a" + bytes(60)
BOXED = b"\0\0\0\x0cJXL \r\n\x87\n" + b"\0\0\0\x14ftypjxl \0\0\0\0jxl " + bytes(40)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("a.jxl", JXL, "JPEG XL photo, which the extra `jxl` reads: pip install 'recoseg[jxl]'"),
        ("b.jxl", BOXED, "JPEG XL photo, which the extra `jxl` reads"),
        ("a.avif", AVIF, "an AVIF photo, which this build of Pillow does not read"),
    ],
)
def test_a_missing_decoder_is_named_and_the_photo_is_tried_again(
    name, data, words, monkeypatch, tmp_path
):
    monkeypatch.setattr(opening, "_register", Image.init)
    Image.init()
    for form in ("JXL", "AVIF"):
        monkeypatch.delitem(Image.OPEN, form, raising=False)
    (tmp_path / name).write_bytes(data)
    photo = Photo(str(tmp_path / name), stamp="1-2")
    for failed in (load_whole(photo, 0), load_frame(photo, Frame(8))):
        assert words in failed.failure
        assert failed.stamp == "", "a later run tries again"


def test_a_build_of_pillow_without_a_decoder(monkeypatch):
    def missing(*_, **__):
        raise OSError("decoder jpeg not available")

    data = jpeg(colours())
    monkeypatch.setattr(Image, "_getdecoder", missing)
    with pytest.raises(MissingDecoderError, match=r"this build of Pillow lacks .*decoder jpeg not"):
        decode_image(data)


def test_folders_are_searched_for_these_formats():
    assert {".avif", ".heic", ".heif", ".jxl", ".dng", ".tif", ".tiff"} <= IMAGE_SUFFIXES


def test_avif_is_read():
    file = io.BytesIO()
    Image.fromarray(colours()).save(file, "AVIF", quality=95)
    assert near(decode_image(file.getvalue()), Image.fromarray(colours()))


def bits(*fields):
    """Numbers of some bits each, from the lowest bit of the first byte on."""
    total, at = 0, 0
    for number, count in fields:
        total |= number << at
        at += count
    return b"\xff\x0a" + total.to_bytes(16, "little")


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (bits((1, 1), (5, 5), (3, 3)), (64, 48)),
        (bits((1, 1), (5, 5), (0, 3), (9, 5)), (80, 48)),
        (bits((0, 1), (1, 2), (5999, 13), (0, 3), (1, 2), (7999, 13)), (8000, 6000)),
        (bits((0, 1), (0, 2), (299, 9), (1, 3)), (300, 300)),
        (bits((0, 1), (3, 2), (2**30 - 1, 30), (7, 3)), (2**31, 2**30)),
    ],
)
def test_the_size_of_jpeg_xl_is_known_before_it_is_decoded(data, size):
    assert jxl_size(data) == size
    box = struct.pack(">I4s", 8 + len(data), b"jxlc") + data
    part = struct.pack(">I4sI", 12 + len(data), b"jxlp", 0) + data
    long = struct.pack(">I4sQ", 1, b"jxlc", 16 + len(data)) + data
    for boxed in (box, part, long):
        assert jxl_size(BOXED[:32] + boxed) == size
    assert jxl_size(BOXED) is None
    assert jxl_size(jpeg(colours())) is None
    if size[0] * size[1] > opening.MAX_PIXELS:
        with pytest.raises(BadImageError, match="more than 178,956,970 pixels"):
            decode_image(data)


def test_photos_in_jpeg_xl(tmp_path):
    pytest.importorskip("pillow_jxl")
    opening._register()
    for count, options in enumerate(
        ({"lossless": True}, {"lossless": True, "use_container": True})
    ):
        Image.fromarray(colours()).save(tmp_path / f"{count}.jxl", **options)
        data = (tmp_path / f"{count}.jxl").read_bytes()
        assert jxl_size(data) == (64, 48)
        np.testing.assert_array_equal(np.asarray(decode_image(data)), colours())


def test_jpeg_xl_is_turned_once(tmp_path):
    pytest.importorskip("pillow_jxl")
    opening._register()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(colours()).save(tmp_path / "a.jpg", exif=exif, quality=95)
    upright = decode_image(tmp_path / "a.jpg")
    with Image.open(tmp_path / "a.jpg") as image:
        image.save(tmp_path / "packed.jxl", lossless_jpeg=True)
    assert near(decode_image(tmp_path / "packed.jxl"), upright)
    # The stream says how it is turned; this one is not, whatever its tags say.
    Image.fromarray(colours()).save(tmp_path / "plain.jxl", lossless=True, exif=exif.tobytes())
    assert near(decode_image(tmp_path / "plain.jxl"), Image.fromarray(colours()))
