"""The same for tools that are heavy to install; tests of those that are absent are left out."""

from __future__ import annotations

import json

import numpy as np
import pytest

from recoseg.formats.reading.pixels import from_brush
from recoseg.formats.rle_pack import encode_brush
from tests.formats.photos import NAMES, label_map
from tests.formats.slow_readers import empty, stem

pytestmark = pytest.mark.slow


def test_ultralytics_reads_the_same_masks(photos, written):
    utils = pytest.importorskip("ultralytics.data.utils")
    folder = written[False] / "yolo"
    files = sorted(str(p) for p in (folder / "images").rglob("*") if p.suffix in (".jpg", ".png"))
    assert len(files) == len(photos[1])
    for file, text in zip(files, utils.img2label_paths(files), strict=True):
        labels = photos[1][stem(file.removeprefix(f"{folder}/images/train/"))]
        if min(labels.shape) < 10:
            continue  # ultralytics refuses such photos
        found = utils.verify_image_label((file, text, "", False, 171, 0, 0, False))
        _, boxes, shape, segments, _, _, _, _, corrupt, message = found
        assert not corrupt, message
        assert shape == labels.shape
        own = empty(*labels.shape, 171)
        for box, segment in zip(boxes, segments, strict=True):
            points = segment * (shape[1], shape[0])
            own[utils.polygon2mask(shape, [points.ravel()]) == 1] = box[0]
        assert np.array_equal(own, labels)


def test_ultralytics_accepts_the_data_set(written, monkeypatch):
    utils = pytest.importorskip("ultralytics.data.utils")
    found = utils.check_det_dataset(str(written[False] / "yolo" / "data.yaml"), autodownload=False)
    assert list(found["names"].values()) == list(NAMES)
    assert found["nc"] == 171


def test_labelme_reads_the_same_masks(photos, written):
    pytest.importorskip("labelme")
    from labelme.utils import shape_to_mask

    folder = written[False] / "labelme"
    for path in sorted(folder.rglob("*.json")):
        fields = json.loads(path.read_text(encoding="utf-8"))
        labels = photos[1][path.relative_to(folder).as_posix().removesuffix(".json")]
        own = empty(*labels.shape, 171)
        for shape in fields["shapes"]:
            mask = shape_to_mask(labels.shape, shape["points"], shape["shape_type"])
            own[mask] = NAMES.index(shape["label"])
        assert np.array_equal(own, labels)


def test_labelme_opens_the_files(written):
    module = pytest.importorskip("labelme._label_file")
    for path in sorted((written[False] / "labelme").rglob("*.json")):
        found = module.LabelFile(str(path))
        assert found.imageData
        assert all(shape["label"] in NAMES for shape in found.shapes)


def test_label_studio_decodes_the_same_brushes(photos, written):
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    tasks = json.loads((written[False] / "label-studio" / "tasks.json").read_text(encoding="utf-8"))
    for task, labels in zip(tasks, [photos[1][key] for key in sorted(photos[1])], strict=True):
        own = empty(*labels.shape, 171)
        for result in task["predictions"][0]["result"]:
            image = brush.decode_rle(result["value"]["rle"])
            alpha = np.reshape(image, (*labels.shape, 4))[..., 3]
            own[alpha == 255] = NAMES.index(result["value"]["brushlabels"][0])
        assert np.array_equal(own, labels)


@pytest.mark.parametrize("number", [0, 1, 5])
def test_label_studio_has_the_same_masks_of_our_bytes(number):
    brush = pytest.importorskip("label_studio_sdk.converter.brush")
    mask = label_map(number) == label_map(number)[0, 0]
    values = np.repeat(mask.ravel(), 4).astype(np.uint8) * 255
    assert np.array_equal(brush.decode_rle(encode_brush(mask)), values)
    assert np.array_equal(from_brush(brush.encode_rle(values), *mask.shape), mask)


@pytest.mark.parametrize("polygons", [False, True])
def test_label_studio_validates_tasks_and_interface(written, polygons):
    interface = pytest.importorskip("label_studio_sdk.label_interface.interface")
    folder = written[polygons] / "label-studio"
    found = interface.LabelInterface((folder / "labeling_config.xml").read_text(encoding="utf-8"))
    found.validate()
    for task in json.loads((folder / "tasks.json").read_text(encoding="utf-8")):
        assert found.validate_task({"data": task["data"]})
        for prediction in task["predictions"]:
            assert found.validate_prediction(prediction)


def link(path, target):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def in_coco_folders(root, name, to):
    """The links that make the folders of COCO's own archives, and the name of datumaro's reader."""
    link(to / "images" / "train", root / "images")
    if name == "coco":
        link(to / "annotations" / "instances_train.json", root / "annotations.json")
        return to, "coco_instances"
    link(to / "annotations" / "panoptic_train.json", root / "panoptic.json")
    link(to / "annotations" / "panoptic_train", root / "panoptic")
    return to, "coco_panoptic"


def mask_of(annotation, size):
    """The pixels of an annotation of datumaro, a mask or a polygon."""
    coco = pytest.importorskip("pycocotools.mask")
    if hasattr(annotation, "image"):
        return annotation.image.astype(bool)
    points = [[float(value) for value in annotation.points]]
    return coco.decode(coco.merge(coco.frPyObjects(points, *size))).astype(bool)


@pytest.mark.parametrize("polygons", [False, True])
@pytest.mark.parametrize("name", ["coco", "cvat", "voc", "panoptic"])
def test_datumaro_reads_the_same_masks(photos, written, tmp_path, name, polygons):
    datumaro = pytest.importorskip("datumaro")
    path, form = written[polygons] / name, {"voc": "voc_segmentation"}.get(name, name)
    if name in ("coco", "panoptic"):
        path, form = in_coco_folders(path, name, tmp_path)
    found = datumaro.Dataset.import_from(str(path), form)
    given = [category.name for category in found.categories()[datumaro.AnnotationType.label]]
    items = {item.id: item for item in found}
    assert items.keys() == photos[1].keys()
    for key, labels in photos[1].items():
        own = empty(*labels.shape, 171)
        shapes = (item for item in items[key].annotations if not isinstance(item, datumaro.Bbox))
        for annotation in shapes:  # COCO's come with their boxes
            number = annotation.label
            label = number - 1 if name == "voc" else NAMES.index(given[number])
            own[mask_of(annotation, labels.shape)] = label
        assert np.array_equal(own, labels), key
