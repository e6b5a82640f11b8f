"""Names of files and of classes: any that a file system or a list can hold."""

import gzip
import io
import os
import tarfile
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import read_classes
from recoseg.cli.failures import prepare_streams
from recoseg.concepts import ConceptBank
from recoseg.storage.checksums import checksum
from tests.command import run

from .making import lines, photo, pixels

SIGNS = (
    *("a.jpg::b.jpg", "12::30.jpg", "shot.tar::1.jpg", "a#1.jpg", "what?.jpg", "st*r.jpg"),
    *("b[1].jpg", "c{1}.jpg", "100%25.jpg", "back\\slash.jpg", " lead.jpg", "line\nfeed.jpg"),
    *("-x.jpg", "~home.jpg", "talk\u2028notes.jpg", "next\u0085line.jpg", "album::spring/in.jpg"),
)
"""Names with signs; `a.jpg` and `shot.tar`, which others hold, are there as well."""


def jpeg(seed, height):
    encoded = io.BytesIO()
    Image.fromarray(pixels(height, 40, seed)).save(encoded, "JPEG")
    return encoded.getvalue()


def archive(members):
    encoded = io.BytesIO()
    with tarfile.open(fileobj=encoded, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return encoded.getvalue()


@pytest.fixture
def signs(tmp_path):
    """A folder of photos whose heights are 20, 21, 22, ... in the order of the names."""
    root = tmp_path / "photos"
    for number, name in enumerate(("a.jpg", *SIGNS)):
        photo(root / name, 20 + number, 40, number, "JPEG")
    (root / "shot.tar").write_bytes(archive({"1.jpg": jpeg(9, 90)}))
    return root


def test_each_photo_has_its_own_pixels_whatever_its_name(signs, tmp_path, segment):
    done = run("index", signs, "--out", tmp_path / "index")
    assert (done.code, "Left out" in done.err) == (0, False), done.err
    heights = {str(signs / name): 20 + number for number, name in enumerate(("a.jpg", *SIGNS))}
    found = list(ArchiveIndex.open(tmp_path / "index").photos())
    assert {item.path: item.height for item in found} == heights
    for item in found:
        assert item.hash == checksum(Path(item.path).read_bytes())
    assert segment(signs, "--out", tmp_path / "out").code == 0
    written = lines(tmp_path / "out")
    assert {line["path"]: line["height"] for line in written.values()} == heights
    for line in written.values():
        with Image.open(tmp_path / "out" / line["files"]["labels"]) as labels:
            assert labels.height == heights[line["path"]]


def test_a_photo_with_signs_is_given_alone(signs, tmp_path, segment):
    for number, name in enumerate(("a.jpg", *SIGNS)):
        done = segment(signs / name, "--out", tmp_path / f"out{number}")
        [line] = lines(tmp_path / f"out{number}").values()
        assert (done.code, line["height"]) == (0, 20 + number), name


def test_a_training_set_of_photos_with_signs(made, signs, tmp_path):
    done = run("pseudo-label", made / "bank.safetensors", signs, "--out", tmp_path / "set")
    assert done.code == 0, done.err
    assert len(list((tmp_path / "set" / "labels").iterdir())) == 1 + len(SIGNS)
    assert run("verify", tmp_path / "set").code == 0


def test_classes_of_folders_with_signs(tmp_path):
    for number, name in enumerate(("cats/12::30.jpg", "cats/1.jpg", "a::b/in.jpg")):
        photo(tmp_path / "photos" / name, seed=number)
    assert run("index", tmp_path / "photos", "--out", tmp_path / "index").code == 0
    done = run(
        *("ablate", "retrieval", "--index", tmp_path / "index", "--labels", "folders", "-k", 2),
        *("--out", tmp_path / "out"),
    )
    assert done.code == 0, done.err
    assert "2 classes, 3 photos of known class" in done.out


@pytest.mark.skipif(os.name != "posix", reason="names are bytes")
def test_a_name_in_latin_1(tmp_path, segment):
    photo(tmp_path / "photos" / "plain.jpg")
    try:
        (tmp_path / "photos" / os.fsdecode(b"caf\xe9.jpg")).write_bytes(jpeg(1, 30))
    except OSError:
        pytest.skip("the file system takes UTF-8 only")
    reason = f"Left out: {tmp_path / 'photos'}/caf\\xe9.jpg: the file's name is not UTF-8"
    for done in (
        run("index", tmp_path / "photos", "--out", tmp_path / "index"),
        segment(tmp_path / "photos", "--out", tmp_path / "out"),
    ):
        assert (done.code, reason in done.err) == (0, True)
    assert list(lines(tmp_path / "out")) == ["plain.jpg"]
    assert len(ArchiveIndex.open(tmp_path / "index")) == 1


SHARDS = {"0.jpg": jpeg(0, 30), "1.jpg": jpeg(1, 31), "2.1.JPG": jpeg(2, 32)}
WHOLE = archive(SHARDS)


@pytest.mark.parametrize(
    ("name", "data", "used", "reason"),
    [
        ("good.tar", WHOLE, [30, 31, 32], ""),
        ("upper.TAR", WHOLE, [30, 31, 32], ""),
        ("hidden.tar", archive(SHARDS | {"@eaDir/a.jpg": b"", ".x/b.jpg": b""}), [30, 31, 32], ""),
        ("packed.tar", gzip.compress(WHOLE), [], "the tar shard is damaged or compressed"),
        ("cut.tar", WHOLE[:2_100], [30], "what follows is left out"),
        ("packed.tar.gz", gzip.compress(WHOLE), [], "an uncompressed .tar shard"),
    ],
)
def test_shards(tmp_path, segment, name, data, used, reason):
    (tmp_path / name).write_bytes(data)
    for done in (
        run("index", tmp_path / name, "--out", tmp_path / "index"),
        segment(tmp_path / name, "--out", tmp_path / "out"),
    ):
        assert done.code == (0 if used else 1)
        assert reason in done.err
        assert "This is a fault" not in done.err
    if used:
        heights = [photo.height for photo in ArchiveIndex.open(tmp_path / "index").photos()]
        assert heights == used == [line["height"] for line in lines(tmp_path / "out").values()]


def test_a_folder_of_shards(tmp_path, segment):
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "00000.tar").write_bytes(WHOLE)
    refused = segment(tmp_path / "shards", "--out", tmp_path / "out")
    assert (refused.code, "1 tar shards. Give these themselves" in refused.err) == (1, True)
    done = segment(tmp_path / "shards" / "*.tar", "--out", tmp_path / "out")
    assert (done.code, len(lines(tmp_path / "out"))) == (0, 3)


CLASSES = {
    "signs": ["building, edifice", "car/truck", "..", 'it\'s a "dog"', "tree " * 60, "%s {} \\n"],
    "numbered": ["0: tree", "1: dog", "2: car"],
    "comments": ["  # a comment", "dog", "", "  ", "car\r"],
    "words": ["big; small: dog", "car"],
}
READ = {
    "signs": [
        "building, edifice",
        "car/truck",
        "..",
        'it\'s a "dog"',
        ("tree " * 60).strip(),
        "%s {} \\n",
    ],
    "numbered": ["tree", "dog", "car"],
    "comments": ["dog", "car"],
    "words": ["big; small", "car"],
}


@pytest.mark.parametrize("kind", CLASSES)
def test_names_of_classes(made, tmp_path, segment, kind):
    (tmp_path / "list.txt").write_text("\n".join(CLASSES[kind]) + "\n", encoding="utf-8")
    bank = tmp_path / "bank.safetensors"
    learnt = run(
        *("learn", made / "index", "--classes", tmp_path / "list.txt", "--out", bank),
        *("-k", 2, "--image-size", 64, "--context", "none"),
    )
    assert learnt.code == 0, learnt.err
    assert [item.name for item in ConceptBank.load(bank).classes] == READ[kind]
    done = run(
        *("segment", bank, made / "photos" / "0.png", "--out", tmp_path / "out", "--resize", 64),
        *(("--background", '"building, edifice", ".."') if kind == "signs" else ()),
    )
    assert done.code == 0, done.err
    assert [item.name for item in read_classes(tmp_path / "out" / "classes.txt")] == READ[kind]
    if kind == "signs":
        [line] = lines(tmp_path / "out").values()
        assert not {"building, edifice", ".."} & line["areas"].keys()
        labels = np.asarray(Image.open(tmp_path / "out" / line["files"]["labels"]))
        assert not set(np.unique(labels)) & {0, 2}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("dog\ncar\ndog\n", "These classes occur twice: dog"),
        ("", "The list of classes is empty"),
        (": dog\n", "No class name in ': dog'"),
        ("-dog\ncar\n", "No class name in '-dog'"),
        ("\u732b\n\U0001f697\n\U0001f436\n", "knows none of the words \u732b, \U0001f697"),
        ("tree\n\u732b\n", "knows none of the words \u732b, "),
    ],
)
def test_lists_of_classes_that_are_refused(made, tmp_path, text, reason):
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    done = run(
        *("learn", made / "index", "--classes", tmp_path / "list.txt"),
        *("--out", tmp_path / "bank.safetensors"),
    )
    assert (done.code, reason in done.err) == (1, True), done.err
    assert not (tmp_path / "bank.safetensors").exists()


def test_a_class_that_is_no_text(made):
    done = run("retrieve", made / "index", "\udce9")
    assert (done.code, "cannot be written as UTF-8" in done.err) == (1, True)


def test_warnings_are_one_line_without_code():
    with warnings.catch_warnings():
        shown = warnings.formatwarning
        try:
            prepare_streams()
            text = warnings.formatwarning("a \x1b[2K", UserWarning, "file.py", 1)
        finally:
            warnings.formatwarning = shown
    assert text == "a \\x1b[2K\n"
