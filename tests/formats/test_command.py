"""`recoseg convert`, and formats as a part of segmentation."""

import json

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import UnknownNameError
from recoseg.formats import format_table
from recoseg.pipeline.segment import segment
from recoseg.writers.folder import read_segmentations
from tests.command import run
from tests.evaluation.scenes import scene, segmenter
from tests.formats.slow_readers import READERS


@pytest.fixture
def segmented(tmp_path):
    """Photos in folders, and what segmenting them into all formats has written."""
    for module in ("shapely", "pycocotools", "datasets"):
        pytest.importorskip(module)
    for number, folder in enumerate(["photos/a", "photos/b", "photos"]):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        scene(number)[0].save(tmp_path / folder / "same.png")
    report = segment(segmenter(), tmp_path / "photos", tmp_path / "masks", formats=list(READERS))
    return tmp_path, report


def test_all_formats_hold_the_masks_of_the_run(segmented):
    root, report = segmented
    assert report.formats.folders.keys() == READERS.keys()
    lines = list(read_segmentations(root / "masks"))
    maps = {
        line["name"]: np.asarray(Image.open(root / "masks" / line["files"]["labels"]))
        for line in lines
    }
    assert maps.keys() == {"a/same", "b/same", "same"}
    for name in ("coco", "coco-stuff", "panoptic", "cvat", "label-studio", "huggingface", "voc"):
        found = READERS[name](root / "masks/formats" / name, 3)
        assert found.keys() == maps.keys()
        assert all(np.array_equal(found[photo], labels) for photo, labels in maps.items())


def test_a_run_that_is_resumed_replaces_its_formats(segmented):
    root, _ = segmented
    scene(7)[0].save(root / "photos/new.png")
    options = {"formats": ["coco"], "resume": True}
    segment(segmenter(), root / "photos", root / "masks", **options)
    found = READERS["coco"](root / "masks/formats/coco", 3)
    assert found.keys() == {"a/same", "b/same", "new", "same"}
    assert not (root / "masks/formats/yolo").exists()


def test_masks_that_replace_others_leave_no_formats_of_those(segmented):
    root, _ = segmented
    photos, out = root / "photos", root / "masks"
    (out / "formats/notes.txt").write_text("mine")
    segment(segmenter(), photos, out, overwrite=True)
    assert [path.name for path in (out / "formats").iterdir()] == ["notes.txt"]
    (out / "formats/notes.txt").unlink()
    segment(segmenter(), photos, out, overwrite=True, formats=["yolo"])
    assert (out / "formats/yolo/data.yaml").is_file()
    segment(segmenter(), photos, out, overwrite=True)
    assert not (out / "formats").exists()


def test_unknown_formats_are_refused_before_photos_are_segmented(tmp_path):
    scene(0)[0].save(tmp_path / "a.png")
    with pytest.raises(UnknownNameError, match="'pdf'"):
        segment(segmenter(), tmp_path / "a.png", tmp_path / "masks", formats=["pdf"])
    assert not (tmp_path / "masks").exists()


def test_the_command_writes_several_formats_and_goes_on(segmented):
    root, _ = segmented
    command = ("convert", root / "masks", "--to", "coco", "--to", "panoptic", "--out", root / "o")
    first = run(*command, "--polygons", "--tolerance", 2, "--things", "red", "--min-area", 2)
    assert first.code == 0
    assert f"coco of 3 photos: {root / 'o/coco'}" in first.out
    again = run(*command)
    assert again.code == 1
    assert "--resume" in again.err
    other = run(*command, "--resume")
    assert other.code == 1
    assert "other settings (min_area, polygons, things, tolerance)" in other.err
    assert run(*command, "--overwrite").code == 0
    assert run(*command, "--resume").code == 0


def test_the_command_names_what_is_left_out(segmented):
    root, _ = segmented
    (root / "photos/same.png").unlink()
    result = run("convert", root / "masks", "--to", "yolo", "--out", root / "o")
    assert result.code == 0
    assert "Left out: " in result.err
    assert "yolo of 2 photos" in result.out
    for path in (root / "photos").rglob("*.png"):
        path.unlink()
    result = run("convert", root / "masks", "--to", "yolo", "--out", root / "p")
    assert result.code == 1
    assert "None of the 3 photos could be converted" in result.err


def test_the_command_finds_moved_photos_and_links_them(segmented):
    root, _ = segmented
    (root / "photos").rename(root / "moved")
    result = run(
        *("convert", root / "masks", "--to", "coco", "--photos", "link"),
        *("--images", root / "moved", "--out", root / "o"),
    )
    assert result.code == 0, result.err
    link = root / "o/coco/images/a/same.png"
    assert link.is_symlink()
    assert link.resolve() == (root / "moved/a/same.png").resolve()
    fields = json.loads((root / "o/coco/annotations.json").read_text(encoding="utf-8"))
    assert [image["file_name"] for image in fields["images"]] == [
        *("a/same.png", "b/same.png", "same.png")
    ]


def test_the_help_names_all_formats():
    text = " ".join(run("convert", "--help").out.split())
    assert all(name in text for name in format_table.FORMATS)
