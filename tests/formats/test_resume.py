"""An interrupted run goes on and gives the files of an undisturbed one; wrong use is told."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import MissingExtraError, OutputError, RecosegError, UnknownNameError
from recoseg.formats import format_table, huggingface
from recoseg.formats.coco import CocoFile
from recoseg.formats.voc import Voc
from recoseg.pipeline.convert import FILES, convert
from tests.formats.photos import write_photos
from tests.formats.slow_readers import READERS

NAMES = ("a", "b", "c", "d", "e", "f", "g")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    for module in ("shapely", "pycocotools", "datasets"):
        pytest.importorskip(module)
    root = tmp_path_factory.mktemp("small")
    write_photos(root, 7, NAMES)
    return root


def content(folder):
    """The bytes of all files but those of the run's record."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.parent != folder
    }


def write(root, out, names=tuple(READERS), **options):
    return convert(root / "masks", list(names), out, images=root / "images", **options)


@pytest.mark.parametrize("stop", [0, 1, 4, 7])
def test_an_interrupted_run_gives_the_same_files(small, tmp_path, monkeypatch, stop):
    monkeypatch.setattr(huggingface, "_GROUP", 1)
    monkeypatch.setattr(huggingface, "_SHARD", 6_000)  # several photos in each file
    write(small, tmp_path / "whole")
    assert len(list((tmp_path / "whole/huggingface/data").iterdir())) > 1
    added = CocoFile.add

    def add(self, item, photo):
        added(self, item, photo)  # so that pieces without a line are left
        if item.number > stop:
            raise KeyboardInterrupt

    def interrupt(self):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(CocoFile, "add", add)
        patch.setattr(Voc, "finish", interrupt)
        with pytest.raises(KeyboardInterrupt):
            write(small, tmp_path / "parts")
    report = write(small, tmp_path / "parts", resume=True)
    assert report.photos == 7
    assert not report.failures
    assert content(tmp_path / "parts") == content(tmp_path / "whole")


def test_a_finished_run_is_not_written_again(small, tmp_path, monkeypatch):
    write(small, tmp_path, ["coco"])
    before = content(tmp_path)
    monkeypatch.setattr(CocoFile, "add", lambda *_: pytest.fail("a photo is added again"))
    assert write(small, tmp_path, ["coco"], resume=True).photos == 7
    assert content(tmp_path) == before


def test_a_file_that_is_lost_is_written_again(small, tmp_path):
    write(small, tmp_path, ["yolo"])
    before = content(tmp_path)
    lines = (tmp_path / FILES).read_text(encoding="utf-8").splitlines()
    (tmp_path / FILES).write_text("".join(f"{line}\n" for line in lines[:5]), encoding="utf-8")
    lost = json.loads(lines[3])["files"][-1]
    (tmp_path / lost).unlink()
    write(small, tmp_path, ["yolo"], resume=True)
    assert content(tmp_path) == before


def test_other_masks_or_options_are_not_mixed(small, tmp_path):
    root = tmp_path / "photos"
    shutil.copytree(small, root)
    write(root, tmp_path / "out", ["coco"])
    with pytest.raises(OutputError, match="earlier run"):
        write(root, tmp_path / "out", ["coco"])
    with pytest.raises(OutputError, match=r"other settings .*polygons"):
        write(root, tmp_path / "out", ["coco"], resume=True, polygons=True)
    mask = next((root / "masks").rglob("*.png"))
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(mask)
    with pytest.raises(OutputError, match=r"other settings \(masks\)"):
        write(root, tmp_path / "out", ["coco"], resume=True)
    write(root, tmp_path / "out", ["voc"], overwrite=True)
    assert not (tmp_path / "out" / "coco").exists()


def test_photos_that_cannot_be_used_are_left_out_with_the_reason(small, tmp_path):
    root = tmp_path / "photos"
    shutil.copytree(small, root)
    masks = sorted((root / "masks").rglob("*.png"))
    masks[0].write_bytes(b"no picture")
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(masks[1])
    masks[2].unlink()
    report = write(root, tmp_path / "out", ["yolo", "coco"])
    assert len(report.failures) == 3
    assert len(list((tmp_path / "out/yolo").rglob("*.txt"))) == 4
    found = json.loads((tmp_path / "out/coco/annotations.json").read_text(encoding="utf-8"))
    assert len(found["images"]) == 4
    assert write(root, tmp_path / "out", ["yolo", "coco"], resume=True).failures == report.failures


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"names": ["x"]}, UnknownNameError, "coco, coco-stuff"),
        ({"names": []}, RecosegError, "No format is given"),
        ({"photos": "move"}, UnknownNameError, "auto, copy, link, none"),
        ({"tolerance": -1}, RecosegError, "0 or more"),
        ({"things": ["zebra"]}, UnknownNameError, "'zebra'"),
    ],
)
def test_wrong_options_are_told_before_anything_is_written(small, tmp_path, options, error, text):
    with pytest.raises(error, match=text):
        write(small, tmp_path / "out", **{"names": ["coco"], **options})
    assert not (tmp_path / "out").exists()


def test_a_missing_package_is_told_with_its_extra(small, tmp_path, monkeypatch):
    monkeypatch.setattr(format_table, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"recoseg\[formats\]"):
        write(small, tmp_path / "out", ["coco"])


def test_voc_refuses_more_classes_than_it_holds(tmp_path):
    names = tuple(f"class {number}" for number in range(255))
    write_photos(tmp_path, 3, names)
    with pytest.raises(RecosegError, match="at most 254 classes; the masks have 255"):
        write(tmp_path, tmp_path / "out", ["voc"])
