"""Photos of all kinds: what can be decoded is decoded, the rest is named with its reason."""

import io
import zlib

import numpy as np
import pytest
from PIL import Image

from recoseg.archive.index import ArchiveIndex
from recoseg.photos import opening
from recoseg.pipeline.segment import open_segmenter
from recoseg.segmentation import raster_to_folder
from tests.command import run

from .making import chunk, label_map, lines, photo, pixels


def test_projects_and_profiles_in_a_png(tmp_path, segment):
    plain = photo(tmp_path / "photos" / "plain.png").read_bytes()
    text = chunk(b"zTXt", b"workflow\0\0" + zlib.compress(b"node " * 420_000))
    profile = chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(2_100_000)))
    for name, more in (("text", text), ("profile", profile)):
        (tmp_path / "photos" / f"{name}.png").write_bytes(plain[:33] + more + plain[33:])
    done = segment(tmp_path / "photos", "--out", tmp_path / "out")
    assert (done.code, "Left out" in done.err) == (0, False), done.err
    wanted = label_map(tmp_path / "out", "plain.png")
    for name in ("text.png", "profile.png"):
        np.testing.assert_array_equal(label_map(tmp_path / "out", name), wanted)


def test_an_orientation_that_is_none_does_not_turn_the_photo(tmp_path, segment):
    plain = photo(tmp_path / "photos" / "plain.png").read_bytes()
    odd = chunk(b"eXIf", b"\0\x08\0\x02\x01\x12\0\x03junk")
    (tmp_path / "photos" / "odd.png").write_bytes(plain[:33] + odd + plain[33:])
    assert segment(tmp_path / "photos", "--out", tmp_path / "out").code == 0
    wanted = label_map(tmp_path / "out", "plain.png")
    np.testing.assert_array_equal(label_map(tmp_path / "out", "odd.png"), wanted)


def turned(path):
    exif = Image.Exif()
    exif[0x0112] = 6
    photo(path, exif=exif)


def grey(path):
    Image.fromarray((pixels()[..., 0].astype(np.uint16)) * 257).save(path)


def clear(path):
    image = Image.fromarray(pixels())
    image.putalpha(
        Image.fromarray(np.where(np.arange(56) < 28, 0, 255).astype(np.uint8)[None].repeat(40, 0))
    )
    image.save(path)


@pytest.mark.parametrize(
    ("name", "write", "size"),
    [("a.jpg", turned, (56, 40)), ("a.png", grey, (40, 56)), ("b.png", clear, (40, 56))],
)
def test_a_path_its_bytes_and_its_picture_have_one_mask(made, tmp_path, name, write, size):
    write(tmp_path / name)
    segmenter = open_segmenter(made / "bank.safetensors", resize=64)
    given = [tmp_path / name, (tmp_path / name).read_bytes(), Image.open(tmp_path / name)]
    first, *others = (segmenter(item).labels for item in given)
    assert first.shape == size
    for other in others:
        np.testing.assert_array_equal(other, first)


def test_kinds_of_photos(tmp_path, segment):
    folder = tmp_path / "photos"
    folder.mkdir()
    image = Image.fromarray(pixels())
    image.convert("CMYK").save(folder / "cmyk.tif")
    Image.merge("LAB", image.split()).save(folder / "lab.tif")
    image.convert("P").save(folder / "moving.gif", save_all=True, append_images=[image])
    image.save(folder / "pages.tif", save_all=True, append_images=[image.rotate(90, expand=True)])
    image.save(folder / "two.mpo", save_all=True, append_images=[image])
    image.save(folder / "named.jpg", "PNG")
    grey(folder / "grey.png")
    image.resize((1, 1)).save(folder / "one.png")
    encoded = io.BytesIO()
    image.save(encoded, "JPEG")
    (folder / "cut.jpg").write_bytes(encoded.getvalue()[:-300])
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "page.jpg").write_text("<html>404</html>")
    image.resize((4000, 1)).save(folder / "strip.png")
    done = segment(folder, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    sizes = {
        name: (line["height"], line["width"]) for name, line in lines(tmp_path / "out").items()
    }
    kept = ["cmyk.tif", "grey.png", "lab.tif", "moving.gif", "named.jpg", "pages.tif", "two.mpo"]
    assert sizes == {**dict.fromkeys(kept, (40, 56)), "one.png": (1, 1)}
    reasons = dict(
        line.removeprefix(f"Left out: {folder}/").split(": ", 1)
        for line in done.err.splitlines()
        if line.startswith("Left out")
    )
    assert reasons["empty.jpg"] == "the file is empty"
    assert reasons["page.jpg"] == "not an image of a known format"
    assert reasons["cut.jpg"].startswith("damaged: ")
    assert reasons["strip.png"].startswith("too long and thin: 4000 x 1 pixels")
    assert len(reasons) == 4


def test_a_photo_above_the_limit_costs_no_other(tmp_path, segment, monkeypatch):
    monkeypatch.setattr(opening, "MAX_PIXELS", 8_000)
    monkeypatch.setattr(raster_to_folder, "has_rasterio", lambda: False)
    photo(tmp_path / "photos" / "a.png")
    photo(tmp_path / "photos" / "large.png", 100, 100)
    done = segment(tmp_path / "photos", "--out", tmp_path / "out")
    assert done.code == 0
    assert "large.png: more than 8,000 pixels: 100 x 100" in done.err
    assert list(lines(tmp_path / "out")) == ["a.png"]


def test_a_photo_that_was_replaced_is_done_again(tmp_path, segment):
    photo(tmp_path / "photos" / "a.png")
    photo(tmp_path / "photos" / "b.png", 30, 30)
    for code in (0, 0):
        done = segment(tmp_path / "photos", "--out", tmp_path / "out", "--resume")
        assert done.code == code
    before = lines(tmp_path / "out")
    photo(tmp_path / "photos" / "a.png", 72, 48, 3)
    assert segment(tmp_path / "photos", "--out", tmp_path / "out", "--resume").code == 0
    after = lines(tmp_path / "out")
    assert (after["a.png"]["height"], after["a.png"]["width"]) == (72, 48)
    assert label_map(tmp_path / "out", "a.png").shape == (72, 48)
    assert after["b.png"] == before["b.png"]
    assert len(list((tmp_path / "out" / "labels").iterdir())) == 2


def test_a_photo_that_was_replaced_is_indexed_again(tmp_path):
    photo(tmp_path / "photos" / "a.png")
    for changed in (0, 1):
        done = run("index", tmp_path / "photos", "--out", tmp_path / "index")
        assert f"{changed} changed" in done.out
        photo(tmp_path / "photos" / "a.png", 72, 48, 3)
    [found] = ArchiveIndex.open(tmp_path / "index").photos()
    assert (found.height, found.width) == (72, 48)
