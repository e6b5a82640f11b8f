"""Scores and training take masks in every format, and so does conversion into another one."""

import json

import numpy as np
import pytest

from recoseg.classes import class_list
from recoseg.errors import DatasetError, MissingFileError
from recoseg.pipeline.convert import convert
from recoseg.pipeline.evaluate import evaluate
from recoseg.training.training_set import open_masks, readable
from tests.formats.photos import write_photos
from tests.formats.slow_readers import READERS

NAMES = ("a", "b", "c", "d", "e", "f", "it's; fine, ok")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Photos and masks as the data set `folder`, and in all formats; and their label maps."""
    for module in ("shapely", "pycocotools", "datasets"):
        pytest.importorskip(module)
    root = tmp_path_factory.mktemp("uses")
    maps = write_photos(root, 8, NAMES)
    (root / "classes.txt").write_text(class_list(NAMES), encoding="utf-8")
    convert(root / "masks", list(READERS), root / "out", images=root / "images", photos="copy")
    convert(
        root / "masks",
        list(READERS),
        root / "exact",
        images=root / "images",
        photos="copy",
        tolerance=0,
    )
    return root, maps


@pytest.mark.parametrize("name", READERS)
def test_predictions_in_every_format_score_as_the_masks_do(small, name):
    root, _ = small
    found = evaluate(
        None, "folder", root=root, predictions=root / "exact" / name, allow_missing=True
    ).evaluation
    assert not found.failures
    assert found.scores.accuracy == 1
    assert found.scores.miou == 1


def test_the_file_alone_will_do(small):
    path = small[0] / "exact/coco/annotations.json"
    found = evaluate(None, "folder", root=small[0], predictions=path).evaluation
    assert found.scores.miou == 1


def test_photos_that_the_format_lacks_are_told(small, tmp_path):
    fields = json.loads((small[0] / "exact/coco/annotations.json").read_text(encoding="utf-8"))
    fields["images"] = fields["images"][:-2]
    path = tmp_path / "some.json"
    path.write_text(json.dumps(fields), encoding="utf-8")
    with pytest.raises(DatasetError, match="2 of 8 photos have no prediction in"):
        evaluate(None, "folder", root=small[0], predictions=path)


@pytest.mark.parametrize("name", [name for name in READERS if name != "huggingface"])
def test_training_reads_photos_and_masks_of_every_format(small, name):
    root, maps = small
    images = None if (root / "exact" / name).joinpath("images").is_dir() else root / "images"
    data = open_masks(root / "exact" / name, images)
    assert data.names == NAMES
    kept, failures = readable(data)
    empty = {photo for photo, labels in maps.items() if (labels == 255).all()}
    assert failures.keys() == empty
    assert {photo.name for photo in kept.photos} == maps.keys() - empty
    for photo in kept.photos:
        image, labels, levels = photo.read()
        assert np.array_equal(labels, maps[photo.name])
        assert (image.height, image.width) == labels.shape == levels.shape
        assert (levels == 255).all()
    others = open_masks(root / "out" / name, images)
    assert (others.fingerprint == data.fingerprint) == (root / "out" == root / "exact")


def test_training_on_rows_of_datasets_needs_the_photos(small):
    root, maps = small
    with pytest.raises(DatasetError, match="--images"):
        open_masks(root / "exact/huggingface")
    assert len(open_masks(root / "exact/huggingface", root / "images").photos) == len(maps)


@pytest.mark.parametrize("name", READERS)
def test_one_format_is_converted_into_another(small, tmp_path, name):
    root, maps = small
    report = convert(
        root / "exact" / name,
        ["coco", "yolo"],
        tmp_path,
        images=root / "images",
        photos="copy",
        tolerance=0,
    )
    assert not report.failures
    for other in ("coco", "yolo"):
        found = READERS[other](tmp_path / other, len(NAMES))
        assert found.keys() == maps.keys()
        assert all(np.array_equal(found[photo], labels) for photo, labels in maps.items())


def test_photos_that_are_nowhere_are_asked_for(small, tmp_path):
    path = tmp_path / "coco.json"
    path.write_bytes((small[0] / "exact/coco/annotations.json").read_bytes())
    report = convert(path, "yolo", tmp_path / "out")
    assert len(report.failures) == 8
    assert all("--images" in reason for reason in report.failures.values())
    assert not convert(path, "cvat", tmp_path / "other").failures  # needs no photos


def test_folders_without_masks_are_told(small, tmp_path):
    with pytest.raises(DatasetError, match="holds the folders of several formats"):
        convert(small[0] / "out", "coco", tmp_path / "out")
    with pytest.raises(MissingFileError, match="No folder"):
        convert(tmp_path / "none", "coco", tmp_path / "out")
    (tmp_path / "a.txt").write_text("a")
    with pytest.raises(DatasetError, match="Expected JSON, XML, YAML, or a folder"):
        convert(tmp_path / "a.txt", "coco", tmp_path / "out")
    with pytest.raises(DatasetError, match="--images"):
        convert(tmp_path, "coco", tmp_path / "out")
