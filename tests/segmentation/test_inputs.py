"""Every way to give a picture, alone, in a folder, in a tar shard, or among others."""

import tarfile

import numpy as np
import pytest
import torch
from PIL import Image

from recoseg.errors import ArchiveError, BadImageError, RecosegError
from recoseg.photos import reading
from recoseg.photos.images import decode_image, input_size
from recoseg.photos.load import scaled
from recoseg.photos.refs import Photo
from recoseg.photos.sources import list_sources
from recoseg.segmentation.each_photo import each_photo
from recoseg.segmentation.input_plan import InputPlan
from recoseg.segmentation.segmenter import in_parallel
from recoseg.segmentation.to_folder import folder_for, segment_to_folder

from .fakes import make_bank
from .test_bank_segmenter import noise, photo, segmenter

ROTATED = Image.Exif()
ROTATED[0x0112] = 6


def turned(path):
    Image.fromarray(photo(30, 42)).save(path, exif=ROTATED)


def grey(path):
    y, x = np.mgrid[:30, :42]
    Image.fromarray((x * 1500 + y).astype(np.uint16)).save(path)


def transparent(path):
    image = Image.fromarray(photo(30, 42))
    alpha = np.zeros((30, 42), np.uint8)
    alpha[:, :20] = 255
    image.putalpha(Image.fromarray(alpha))
    image.save(path)


def palette(path):
    Image.fromarray(photo(30, 42)).quantize(8).save(path)


def of_a_dataset(path):
    image = decode_image(path)
    return scaled(Photo("x", width=image.width, height=image.height), image, 24)


@pytest.mark.parametrize("write", [turned, grey, transparent, palette])
def test_every_form_of_a_picture_gives_the_same_masks(tmp_path, write):
    path = tmp_path / "été.png"
    write(path)
    # Grey is as near to red as to blue, and far nearer to black or white.
    made = segmenter(make_bank(("red", "blue", "black", "white")), keep_scores=True, resize=24)
    expected = made(path)
    assert len(expected.areas()) > 1
    assert expected.image.mode == "RGB"
    pixels = np.asarray(expected.image)
    forms = [
        str(path),
        Photo(str(path)),
        of_a_dataset(path),
        path.read_bytes(),
        Image.open(path),
        expected.image,  # it is upright already, and stays so
        pixels,
        torch.from_numpy(pixels.transpose(2, 0, 1).copy()),
    ]
    for given, together in zip(forms, made(forms), strict=True):
        for result in (together, made(given), next(made.stream([given]))):
            np.testing.assert_array_equal(result.labels, expected.labels)
            np.testing.assert_array_equal(result.scores, expected.scores)
            assert (result.photo.width, result.photo.height) == expected.image.size


def test_a_photo_that_is_turned_is_upright_in_the_result(tmp_path):
    turned(tmp_path / "turned.png")
    found = segmenter()(Image.open(tmp_path / "turned.png"))
    expected = segmenter()(np.rot90(photo(30, 42), -1).copy())
    assert found.labels.shape == (42, 30)
    np.testing.assert_array_equal(found.labels, expected.labels)


def save_photos(folder, count=5):
    folder.mkdir(exist_ok=True)
    for number in range(count):
        Image.fromarray(noise(number, 16, 20)).save(folder / f"{number}.png")


def save_tar(path, folder, members):
    with tarfile.open(path, "w") as tar:
        for name in members:
            tar.add(folder / name, name)


def test_folders_shards_and_other_forms_in_one_stream(tmp_path):
    save_photos(tmp_path / "photos")
    save_tar(tmp_path / "shard.tar", tmp_path / "photos", ["3.png", "1.png"])
    made = segmenter(batch_size=2)
    names = [f"{n}.png" for n in range(5)]
    whole = list(made.stream(tmp_path / "photos"))
    assert [result.photo.path.rsplit("/", 1)[-1] for result in whole] == names
    for number, result in enumerate(whole):
        expected = made(noise(number, 16, 20))
        np.testing.assert_array_equal(result.labels, expected.labels)
    mixed = [
        tmp_path / "shard.tar",
        noise(4, 16, 20),
        str(tmp_path / "photos" / "0.png"),
        "gone.jpg",
        f"{tmp_path}/shard.tar::1.png",
        f"{tmp_path}/photos/[23].png",
    ]
    results = list(made.stream(mixed))
    order = [3, 1, 4, 0, None, 1, 2, 3]
    for number, result in zip(order, results, strict=True):
        if number is None:
            assert result.failure == "cannot be read: no such file"
        else:
            np.testing.assert_array_equal(result.labels, whole[number].labels)
    with pytest.raises(ArchiveError, match="Nothing was found at"):
        list(made.stream(tmp_path / "nothing"))


def test_a_stream_reads_a_few_photos_ahead_only():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield noise(0, 8, 8)

    results = segmenter(batch_size=2).stream(endless())
    for _ in range(3):
        next(results)
    assert len(taken) <= 8


@pytest.mark.parametrize(("count", "share"), [(1, 2), (2, 1), (3, 2)])
def test_parallel_segmenters_give_what_one_gives(tmp_path, count, share):
    (tmp_path / "bad.png").write_bytes(b"no photo")
    many = [noise(0, 16, 20), str(tmp_path / "bad.png"), *(noise(n, 20, 16) for n in range(6))]
    alike = [segmenter() for _ in range(count)]
    together = in_parallel(alike, share)
    expected = list(segmenter().stream(many))
    found = list(together.stream(many))
    assert [result.failure for result in found] == [result.failure for result in expected]
    for one, other in zip(found, expected, strict=True):
        if not one.failure:
            np.testing.assert_array_equal(one.labels, other.labels)
    assert all(one.branches[0].encoder.calls for one in alike), "each has worked"
    assert list(together.stream([])) == []
    assert together.settings == segmenter().settings


def test_reasons_of_bad_photos_and_shards_survive(tmp_path, monkeypatch):
    save_photos(tmp_path / "photos")
    names = [f"{n}.png" for n in range(5)]
    save_tar(tmp_path / "good.tar", tmp_path / "photos", names)
    cut = (tmp_path / "good.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(cut[: len(cut) // 3])
    (tmp_path / "zip.tar").write_bytes(b"\x1f\x8b" + bytes(600))
    (tmp_path / "bad.jpg").write_text("no photo")
    given = ["good.tar", "cut.tar", "zip.tar", "bad.jpg"]
    sources = list_sources([tmp_path / name for name in given])
    photos = [photo for source in sources for photo in source.photos]

    def looked_up(*_):
        raise AssertionError("the directory of a shard is read again")

    monkeypatch.setattr(reading, "_members", looked_up)
    monkeypatch.setattr(reading, "look_up", looked_up)
    made = segmenter(batch_size=2)
    seen = []
    with folder_for(made, tmp_path / "out", writers=["labels"]) as folder:
        failures = segment_to_folder(
            made, photos, folder, callback=lambda name, result: seen.append((name, result))
        )
    assert "the tar shard is damaged or compressed" in failures[f"{tmp_path}/zip.tar"]
    assert failures[f"{tmp_path}/bad.jpg"] == "not an image of a known format"
    assert any(path.startswith(f"{tmp_path}/cut.tar") for path in failures)
    assert not any(path.startswith(f"{tmp_path}/good.tar") for path in failures)
    assert [result.photo.path for _, result in seen] == [photo.path for photo in photos]
    assert sum(not result.failure for _, result in seen) == len(photos) - len(failures)


def test_photos_without_an_image_suffix_are_photos(tmp_path):
    Image.fromarray(photo(8, 8)).save(tmp_path / "scan", "PNG")
    assert list(each_photo([str(tmp_path / "scan")])) == [str(tmp_path / "scan")]
    assert list(each_photo([b"abc"])) == [b"abc"]


def test_a_resize_that_is_too_large_or_too_small_is_refused_at_once():
    with pytest.raises(RecosegError, match="resize is 100000; expected 16,384 or less"):
        InputPlan.of(100_000, None, None, 1)
    with pytest.raises(RecosegError, match="resize is 7; expected 8 or more, or 0 for the photo's"):
        InputPlan.of(7, None, None, 1)
    assert InputPlan.of(0, None, None, 1).short_side == 0
    with pytest.raises(BadImageError, match="input would have 21333 x 16000 pixels, more than 178"):
        input_size((640, 480), 16_000)


@pytest.mark.parametrize(
    ("window", "step", "expected"),
    [(1, None, "window is 1; expected 8 or more"), (None, 112, "no effect without windows")],
)
def test_windows_without_use_are_refused(window, step, expected):
    with pytest.raises(RecosegError, match=expected):
        InputPlan.of(320, window, step, 1)
