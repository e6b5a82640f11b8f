"""Pictures of strangers: damaged headers raise only `BadImageError`, and none fills the memory."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, WebPImagePlugin
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from recoseg.errors import BadImageError
from recoseg.photos.images import decode_image, upright_size
from recoseg.photos.opening import MAX_PIXELS
from recoseg.photos.png import without_texts
from tests.archive.conftest import make_photo

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")


def encoded(form, **options):
    out = io.BytesIO()
    make_photo(5, 48, 40).save(out, form, **options)
    return out.getvalue()


SOUND = {form: encoded(form) for form in FORMATS}


def outcome(read, data):
    """What is read, or the reason why nothing is; errors of other types are faults."""
    try:
        return read(data)
    except BadImageError as error:
        return str(error)


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def with_chunk(kind, body, data=SOUND["PNG"]):
    return data[:33] + chunk(kind, body) + data[33:]


@settings(max_examples=400)
@given(
    st.sampled_from(FORMATS),
    st.lists(st.tuples(st.integers(0, 120), st.integers(0, 7)), min_size=1, max_size=4),
    st.none() | st.integers(0, 2000),
)
def test_flipped_bits_and_cuts_raise_nothing_else(form, flips, end):
    data = bytearray(SOUND[form])
    for at, bit in flips:
        data[at % len(data)] ^= 1 << bit
    for read in (decode_image, upright_size):
        assert outcome(read, bytes(data[:end]))


@settings(max_examples=100)
@given(st.binary(max_size=300))
def test_chunks_of_any_kind_raise_nothing_else(junk):
    for data in (SOUND["PNG"][:33] + junk, SOUND["PNG"][:8] + junk, with_chunk(b"zTXt", junk)):
        without_texts(data)
        assert outcome(decode_image, data)


def huge(form):
    """A file whose header claims far more than `MAX_PIXELS` pixels."""
    data = bytearray(SOUND[form])
    if form == "PNG":
        size = struct.pack(">IIBBBBB", 50_000, 40_000, 8, 2, 0, 0, 0)
        return bytes(data[:8]) + chunk(b"IHDR", size) + chunk(b"IDAT", b"x")
    if form == "GIF":
        data[6:10] = struct.pack("<HH", 65_000, 60_000)
    if form == "BMP":
        data[18:26] = struct.pack("<ii", 50_000, 40_000)
    if form == "WEBP":
        canvas = (16_383).to_bytes(3, "little") * 2
        extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
        body = b"WEBP" + extended + bytes(data[12:])
        return b"RIFF" + struct.pack("<I", len(body)) + body
    if form == "JPEG":
        at = data.index(b"\xff\xc0")
        data[at + 5 : at + 9] = struct.pack(">HH", 60_000, 60_000)
    if form == "TIFF":
        out = io.BytesIO()
        image = Image.new("L", (9, 7))
        image.save(out, "TIFF")
        data = bytearray(out.getvalue())
        start = struct.unpack("<I", data[4:8])[0]
        for entry in range(struct.unpack("<H", data[start : start + 2])[0]):
            at = start + 2 + 12 * entry
            if struct.unpack("<H", data[at : at + 2])[0] in (256, 257):
                data[at + 2 : at + 12] = struct.pack("<HII", 4, 1, 50_000)
    return bytes(data)


@pytest.mark.parametrize("form", FORMATS)
def test_a_header_with_too_many_pixels_is_refused_before_they_are_allocated(form, monkeypatch):
    def allocated(*_, **__):
        raise AssertionError("pixels are allocated")

    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", allocated)
    monkeypatch.setattr(WebPImagePlugin._webp, "WebPAnimDecoder", allocated)
    for read in (decode_image, upright_size):
        with pytest.raises(BadImageError, match=f"more than {MAX_PIXELS:,} pixels"):
            read(huge(form))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"zTXt", b"workflow\0\0" + zlib.compress(b"node " * 420_000)),
        (b"tEXt", b"workflow\0" + b"node " * 420_000),
        (b"iTXt", b"workflow\0\1\0\0\0" + zlib.compress(b"node " * 420_000)),
        (b"iCCP", b"p\0\0" + zlib.compress(bytes(2_100_000))),
        (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(bytes(90_000_000))),
        (b"zTXt", b"Raw profile type exif\0\0no zlib"),
        (b"tEXt", b"XML:com.adobe.xmp\0" + bytes(2_000_000)),
    ],
)
def test_large_texts_and_profiles_do_not_spoil_a_sound_photo(kind, body):
    tracemalloc.start()
    found = decode_image(with_chunk(kind, body))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(np.asarray(found), np.asarray(decode_image(SOUND["PNG"])))
    assert most < 16 << 20
    many = SOUND["PNG"][:33] + chunk(kind, body) * 3 + SOUND["PNG"][33:]
    assert upright_size(many) == (40, 48)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt"])
def test_texts_with_the_orientation_stay(kind, packed):
    xmp = b'<x tiff:Orientation="6"/>'
    if kind == b"iTXt":
        flag = b"\1\0" if packed else b"\0\0"
        body = b"XML:com.adobe.xmp\0" + flag + b"\0\0" + (zlib.compress(xmp) if packed else xmp)
    else:
        exif = Image.Exif()
        exif[0x0112] = 6
        text = exif.tobytes().hex()
        body = b"Raw profile type exif\0\0" + zlib.compress(f"\nexif\n{len(text)}\n{text}".encode())
    assert upright_size(with_chunk(kind, body)) == (48, 40)
    assert decode_image(with_chunk(kind, body)).size == (40, 48)


def damaged(kind, body):
    """A chunk whose checksum is not that of its body."""
    return chunk(kind, body)[:-1] + bytes([chunk(kind, body)[-1] ^ 1])


@pytest.mark.parametrize(
    "more",
    [
        *(damaged(kind, bytes(size)) for kind, size in ((b"tIME", 7), (b"pHYs", 9), (b"vpAg", 3))),
        *(damaged(kind, b"junk") for kind in (b"eXIf", b"tEXt", b"acTL", b"fcTL", b"fdAT")),
        *(chunk(kind, b"") for kind in (b"pHYs", b"gAMA", b"cHRM", b"sRGB")),
    ],
    ids=lambda more: f"{more[4:8].decode()}-{len(more)}",
)
def test_damaged_metadata_of_a_png_does_not_cost_the_pixels(more):
    want = np.asarray(decode_image(SOUND["PNG"]))
    data = SOUND["PNG"][:33] + more + SOUND["PNG"][33:]
    assert np.array_equal(np.asarray(decode_image(data)), want)


@pytest.mark.parametrize("kind", [b"tRNS", b"PLTE"])
def test_damage_to_what_decides_the_pixels_is_told(kind):
    data = SOUND["PNG"][:33] + damaged(kind, bytes(6)) + SOUND["PNG"][33:]
    with pytest.raises(BadImageError):
        decode_image(data)


def test_files_without_texts_are_not_copied():
    for data in SOUND.values():
        assert without_texts(data) is data


def test_large_tags_of_a_tiff_do_not_fill_the_memory():
    tags = ImageFileDirectory_v2()
    tags[270] = "n" * 100_000
    data = bytearray(encoded("TIFF", tiffinfo=tags))
    count = data.index(struct.pack("<HH", 270, 2)) + 4
    data[count : count + 4] = struct.pack("<I", 2_000_000_000)
    tracemalloc.start()
    assert outcome(decode_image, bytes(data))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 1 << 23
