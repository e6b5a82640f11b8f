"""Decoding: unusual photos are decoded correctly, and bad ones raise only `BadImageError`."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import CenterCrop, InterpolationMode, Resize

from recoseg.errors import BadImageError
from recoseg.photos import images
from recoseg.photos.frame import Frame
from recoseg.photos.images import (
    center_crop,
    decode_image,
    resize_short_side,
    to_frame,
    to_tensor,
)
from recoseg.photos.opening import MAX_PIXELS


def photo(width=37, height=23, seed=0):
    y, x = np.mgrid[:height, :width]
    noise = np.random.default_rng(seed).integers(0, 20, (height, width, 3))
    ramp = np.stack([x * 200 // width, y * 200 // height, (x + y) % 50], -1)
    return Image.fromarray((ramp + noise).astype(np.uint8))


def encoded(image, fmt, **options):
    out = io.BytesIO()
    image.save(out, fmt, **options)
    return out.getvalue()


def pixels(image):
    return np.asarray(image).astype(int)


def huge_png(width=30_000, height=20_000):
    """A 1-bit PNG of 600 million pixels in under a megabyte."""

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    packer = zlib.compressobj(1)
    row = b"\0" + b"\0" * (width // 8)
    body = b"".join([packer.compress(row * 100) for _ in range(height // 100)]) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("fmt", ["PNG", "BMP", "TIFF", "PPM"])
def test_lossless_formats_come_back_as_they_were(fmt):
    decoded = decode_image(encoded(photo(), fmt))
    assert decoded.mode == "RGB"
    assert (pixels(decoded) == pixels(photo())).all()


@pytest.mark.parametrize("fmt", ["JPEG", "WEBP"])
def test_lossy_formats_come_close(fmt):
    smooth = photo().resize((64, 64), Image.Resampling.BICUBIC)
    error = pixels(decode_image(encoded(smooth, fmt, quality=95))) - pixels(smooth)
    assert np.abs(error).mean() < 4


def test_path_bytes_and_file_agree(tmp_path):
    data = encoded(photo(), "PNG")
    (tmp_path / "ö.png").write_bytes(data)
    with (tmp_path / "ö.png").open("rb") as file:
        from_file = decode_image(file)
    assert pixels(from_file).tolist() == pixels(decode_image(data)).tolist()
    assert pixels(decode_image(tmp_path / "ö.png")).tolist() == pixels(from_file).tolist()


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("fmt", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_applied(orientation, fmt):
    """The rotation of the camera is undone for each of the eight orientations."""
    upright = Image.new("RGB", (48, 32), (0, 0, 255))
    upright.paste((255, 0, 0), (0, 0, 24, 16))
    upright.paste((0, 255, 0), (24, 0, 48, 16))
    inverse = {
        1: lambda im: im,
        2: lambda im: im.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda im: im.rotate(180),
        4: lambda im: im.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda im: im.transpose(Image.Transpose.TRANSPOSE),
        6: lambda im: im.rotate(90, expand=True),
        7: lambda im: im.transpose(Image.Transpose.TRANSVERSE),
        8: lambda im: im.rotate(-90, expand=True),
    }
    stored = inverse[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    decoded = decode_image(encoded(stored, fmt, exif=exif))
    assert decoded.size == (48, 32)
    assert np.abs(pixels(decoded) - pixels(upright)).mean() < 8


def test_damaged_exif_does_not_spoil_the_photo():
    data = encoded(photo(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\xff\xff\x01\x12junk")
    assert decode_image(data).size == (37, 23)


def test_cmyk_is_converted():
    red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    r, g, b = pixels(decode_image(encoded(red, "JPEG", quality=95)))[4, 4]
    assert r > 230
    assert max(g, b) < 40


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    ramp = np.linspace(0, 65535, 256).round().astype(np.uint16)[None].repeat(4, 0)
    for fmt in ("PNG", "TIFF"):
        decoded = pixels(decode_image(encoded(Image.fromarray(ramp), fmt)))
        assert np.abs(decoded[0, :, 0] - np.arange(256)).max() <= 1
    dark = Image.fromarray(np.full((4, 4), 200, np.uint16))
    assert pixels(decode_image(encoded(dark, "PNG"))).max() <= 1


@pytest.mark.parametrize(
    ("values", "want"),
    [
        (np.array([[0, 100, 255]], np.int32), [0, 100, 255]),
        (np.array([[0, 25700, 65535]], np.int32), [0, 100, 255]),
        (np.array([[-1000000, 0, 1000000]], np.int32), [0, 128, 255]),
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),
        (np.array([[0.0, 100.0, 255.0]], np.float32), [0, 100, 255]),
        (np.array([[0.0, np.nan, np.inf]], np.float32), [0, 0, 0]),
        (np.array([[-1.0, 0.0, 1.0]], np.float32), [0, 128, 255]),
    ],
)
def test_wide_grey_tiffs(values, want):
    decoded = pixels(decode_image(encoded(Image.fromarray(values), "TIFF")))
    assert np.abs(decoded[0, :, 0] - np.array(want)).max() <= 1


def test_transparency_is_laid_on_white():
    palette = Image.new("P", (4, 2), 0)
    palette.putpalette([255, 0, 0, 0, 0, 255] + [0] * 762)
    palette.putpixel((1, 0), 1)
    decoded = pixels(decode_image(encoded(palette, "PNG", transparency=0)))
    assert decoded[0, 0].tolist() == [255, 255, 255]
    assert decoded[0, 1].tolist() == [0, 0, 255]
    half = Image.new("RGBA", (2, 2), (0, 0, 0, 128))
    assert pixels(decode_image(encoded(half, "PNG")))[0, 0].tolist() == [127, 127, 127]
    grey = Image.new("LA", (2, 2), (0, 0))
    assert pixels(decode_image(encoded(grey, "PNG"))).min() == 255
    keyed = Image.new("L", (2, 2), 7)
    assert pixels(decode_image(encoded(keyed, "PNG", transparency=7))).min() == 255


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (9, 5), colour) for colour in ("red", "lime", "blue")]
    for fmt in ("GIF", "PNG", "TIFF"):
        data = encoded(frames[0], fmt, save_all=True, append_images=frames[1:])
        assert pixels(decode_image(data))[2, 3].tolist() == [255, 0, 0]


@pytest.mark.parametrize("mode", ["1", "L"])
def test_few_bits(mode):
    assert pixels(decode_image(encoded(Image.new(mode, (3, 3), 255), "PNG"))).min() == 255


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"this is a text file", "not an image"),
        (encoded(photo(200, 100), "JPEG")[:-900], "damaged"),
        (encoded(photo(200, 100), "PNG")[:900], "damaged"),
        (huge_png(), "30000 x 20000|more than"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
        (b"P6 0 5 255\n", "has no pixels|damaged|not an image"),
    ],
)
def test_bad_photos_say_why(data, reason):
    with pytest.raises(BadImageError, match=reason):
        decode_image(data)


def test_missing_file_says_why(tmp_path):
    with pytest.raises(BadImageError, match="cannot be read: No such file"):
        decode_image(tmp_path / "none.jpg")
    with pytest.raises(BadImageError, match="cannot be read"):
        decode_image(tmp_path)


SAMPLES = {
    fmt: encoded(photo(60, 40), fmt)
    for fmt in ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF")
}
MAGIC = [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"BM", b"II*\0", b"P6 ", b"RIFF"]


def only_bad_image_errors(data):
    with contextlib.suppress(BadImageError):
        assert decode_image(data).mode == "RGB"


@settings(max_examples=60)
@given(st.sampled_from(MAGIC), st.binary(max_size=300))
def test_random_bytes_raise_nothing_else(magic, tail):
    only_bad_image_errors(magic + tail)


@settings(max_examples=120)
@given(st.sampled_from(sorted(SAMPLES)), st.floats(0, 1), st.binary(max_size=8), st.booleans())
def test_truncated_and_scribbled_files_raise_nothing_else(fmt, where, junk, cut):
    data = SAMPLES[fmt]
    at = int(where * len(data))
    only_bad_image_errors(data[:at] + junk + (b"" if cut else data[at + len(junk) :]))


@pytest.mark.parametrize("fmt", sorted(SAMPLES))
def test_half_a_file_is_refused(fmt):
    with pytest.raises(BadImageError):
        decode_image(SAMPLES[fmt][: len(SAMPLES[fmt]) // 2])


@pytest.mark.parametrize("size", [(640, 427), (427, 640), (100, 37), (24, 24), (23, 24), (1, 31)])
def test_short_frame_equals_torchvision(size):
    image = photo(*size)
    reference = CenterCrop(24)(Resize(24, InterpolationMode.BICUBIC)(image))
    assert torch.equal(to_frame(image, Frame(24)), to_tensor(reference))


def test_frames_equal_open_clip():
    from open_clip.transform import image_transform

    for mode, ours in (("shortest", "short"), ("squash", "squash"), ("longest", "fit")):
        theirs = image_transform(24, is_train=False, mean=(0,) * 3, std=(1,) * 3, resize_mode=mode)
        for size in ((64, 41), (41, 64), (30, 30)):
            got = to_frame(photo(*size), Frame(24, ours)).float() / 255
            assert torch.allclose(got, theirs(photo(*size)), atol=1e-6), (mode, size)


def test_extreme_strips_stay_small():
    strip = Image.new("RGB", (100_000, 1), (9, 8, 7))
    for resize in ("short", "squash", "fit"):
        assert to_frame(strip, Frame(24, resize)).shape == (3, 24, 24)
    with pytest.raises(BadImageError, match="too long and thin"):
        resize_short_side(strip, 224)


def test_resize_and_crop():
    assert resize_short_side(photo(40, 20), 10).size == (20, 10)
    assert center_crop(photo(40, 20), 10).size == (10, 10)
    assert center_crop(photo(8, 4), 10).size == (10, 10)
    assert to_tensor(photo(5, 3)).shape == (3, 3, 5)
    assert to_tensor(photo(5, 3))[:, 1, 4].tolist() == list(photo(5, 3).getpixel((4, 1)))
    assert MAX_PIXELS > 30_000 * 5_000


def textured(width, height):
    """Waves of all lengths down to three pixels."""
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x * a + y * b) for a, b in ((0.02, 0.01), (0.3, -0.2), (0.8, 1.9), (2.0, 0.1))]
    grey = 128 + 28 * sum(waves)
    return Image.fromarray(
        np.stack([grey, 255 - grey, grey * 0.5], -1).clip(0, 255).astype("uint8")
    )


@pytest.mark.parametrize(
    ("size", "decoded"),
    [((1000, 700), (250, 175)), ((1000, 600), (500, 300)), ((300, 200), (300, 200))],
)
def test_jpegs_are_decoded_at_a_part_of_their_size(size, decoded, monkeypatch):
    """At 1/4 or 1/2 if the short side stays at least twice the frame's 80, otherwise whole."""
    data = encoded(textured(*size), "JPEG", quality=95)
    seen = []
    real = images.to_frame

    def spy(image, frame):
        seen.append(image.size)
        return real(image, frame)

    monkeypatch.setattr(images, "to_frame", spy)
    for resize in ("short", "squash", "fit"):
        frame = Frame(80, resize)
        pixels, whole = images.decode_for(data, frame)
        assert whole == size
        want = real(decode_image(data), frame)
        assert pixels.shape == want.shape == (3, 80, 80)
        assert (pixels.int() - want.int()).abs().float().mean() < 2
    assert seen == [decoded] * 3


def test_size_of_the_whole_photo_is_upright():
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(textured(900, 640), "JPEG", exif=exif)
    pixels, whole = images.decode_for(data, Frame(64))
    assert whole == decode_image(data).size == (640, 900)
    want = to_frame(decode_image(data), Frame(64))
    assert (pixels.int() - want.int()).abs().float().mean() < 2
    png = encoded(textured(900, 640), "PNG")
    pixels, whole = images.decode_for(png, Frame(64))
    assert whole == (900, 640)
    assert torch.equal(pixels, to_frame(decode_image(png), Frame(64)))
