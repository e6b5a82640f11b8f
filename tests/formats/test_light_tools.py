"""What is written gives the same masks in the tools' own libraries that are light to install."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from tests.formats.photos import NAMES
from tests.formats.slow_readers import empty, stem

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("polygons", [False, True])
@pytest.mark.parametrize("name", ["coco", "coco-stuff"])
def test_pycocotools_reads_the_same_masks(photos, written, name, polygons):
    coco = pytest.importorskip("pycocotools.coco")
    found = coco.COCO(written[polygons] / name / "annotations.json")
    assert [found.cats[number]["name"] for number in sorted(found.cats)] == list(NAMES)
    for number, image in found.imgs.items():
        labels = empty(image["height"], image["width"], 171)
        for annotation in found.loadAnns(found.getAnnIds([number])):
            mask = found.annToMask(annotation).astype(bool)
            rows, columns = np.nonzero(mask)
            left, top, width, height = annotation["bbox"]
            assert annotation["area"] == mask.sum()
            assert (left, left + width - 1) == (columns.min(), columns.max())
            assert (top, top + height - 1) == (rows.min(), rows.max())
            assert (labels[mask] == 255).all()
            labels[mask] = annotation["category_id"] - 1
        assert np.array_equal(labels, photos[1][stem(image["file_name"])])


def test_panoptic_files_follow_the_rules_of_their_evaluation(photos, written):
    folder = written[False] / "panoptic"
    fields = json.loads((folder / "panoptic.json").read_text(encoding="utf-8"))
    categories = {category["id"]: category for category in fields["categories"]}
    assert all(category.keys() >= {"name", "isthing", "color"} for category in categories.values())
    assert [image["id"] for image in fields["images"]] == [
        annotation["image_id"] for annotation in fields["annotations"]
    ]
    for annotation in fields["annotations"]:
        path = folder / "panoptic" / annotation["file_name"]
        colours = np.array(Image.open(path), dtype=np.uint32)
        numbers = colours[..., 0] + colours[..., 1] * 256 + colours[..., 2] * 256**2
        labels = dict(zip(*np.unique(numbers, return_counts=True), strict=True))
        labels.pop(0, None)  # the number of pixels without a segment
        own = [segment["id"] for segment in annotation["segments_info"]]
        assert sorted(own) == sorted(labels)
        assert len(set(own)) == len(own)
        for segment in annotation["segments_info"]:
            assert segment["area"] == labels[segment["id"]]
            assert segment["category_id"] in categories


def test_datasets_loads_photos_masks_and_names(photos, written):
    datasets = pytest.importorskip("datasets")
    rows = datasets.load_dataset(
        str(written[False] / "huggingface"), split="train", cache_dir=str(photos[0] / "cache")
    )
    assert rows.features["classes"].feature.names == list(NAMES)
    assert len(rows) == len(photos[1])
    for row in rows:
        assert np.array_equal(np.asarray(row["mask"]), photos[1][row["name"]])
        assert row["image"].size == row["mask"].size


def test_yaml_and_lists_of_yolo_are_read_by_yaml(written):
    yaml = pytest.importorskip("yaml")
    text = (written[False] / "yolo" / "data.yaml").read_text(encoding="utf-8")
    fields = yaml.safe_load(text)
    assert fields["names"] == dict(enumerate(NAMES))
    assert (written[False] / "yolo" / fields["train"]).is_dir()
