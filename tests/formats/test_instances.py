"""Instances that are kept with masks become the objects of formats, and stuff one segment each."""

import json

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import OptionError, UnknownNameError
from recoseg.formats.regions import parts_of
from recoseg.labels import InstanceMap, Segmentation
from recoseg.photos.refs import Photo
from recoseg.pipeline.convert import convert
from recoseg.pipeline.things import things_of
from recoseg.storage.atomic import write_bytes
from recoseg.writers.folder import OutputFolder
from tests.command import run

from .slow_readers import READERS

NAMES = ("dog", "sky", "cat")
FORMATS = ["coco", "coco-stuff", "panoptic", "yolo", "labelme", "voc", "cvat", "label-studio"]


def scene():
    """Two dogs that touch, one in two parts; sky in two parts; a cat without an instance."""
    labels = np.full((12, 16), 255, np.uint8)
    numbers = np.zeros(labels.shape, np.uint16)
    labels[2:6, 1:9] = 0
    numbers[2:6, 1:5], numbers[2:6, 5:9] = 1, 2
    labels[8:11, 2:5], numbers[8:11, 2:5] = 0, 2
    labels[0], labels[11] = 1, 1
    labels[7:10, 10:14] = 2
    return labels, numbers


@pytest.fixture
def masks(tmp_path):
    labels, numbers = scene()
    image = Image.fromarray(np.full((*labels.shape, 3), 99, np.uint8))
    image.save(tmp_path / "a.png")
    found = Segmentation(
        labels, NAMES, ((9, 9, 9),) * 3, instances=InstanceMap(numbers, (0.9, 0.5))
    )
    writers = ("labels", "instances")
    with OutputFolder(tmp_path / "masks", NAMES, found.palette, writers=writers) as folder:
        [(name, photo)] = folder.missing([Photo(str(tmp_path / "a.png"), stamp="1")])
        line = folder.write(name, photo, image, found)
    assert line["instances"] == [{"class": "dog", "score": 0.9}, {"class": "dog", "score": 0.5}]
    return tmp_path / "masks"


def objects_of(labels, numbers):
    """The sets of pixels of the objects: instances, and connected parts of none."""
    found = []
    for label in range(3):
        own = (labels == label) & (numbers == 0)
        parts = parts_of(np.where(own, 0, 255).astype(np.uint8), 255).numbers
        found += [parts == part for part in range(1, parts.max() + 1)]
    found += [numbers == number for number in range(1, numbers.max() + 1)]
    return {mask.tobytes() for mask in found}


@pytest.mark.parametrize("polygons", [False, True])
def test_every_format_gives_the_label_map_back(masks, tmp_path, polygons):
    for module in ("shapely", "pycocotools", "yaml"):
        pytest.importorskip(module)
    labels, _ = scene()
    report = convert(
        *(masks, FORMATS, tmp_path / "out"), photos="copy", polygons=polygons, tolerance=0
    )
    assert not report.failures
    for name in FORMATS:
        found = READERS[name](tmp_path / "out" / name, 3)
        wrong = np.argwhere(found["a"] != labels)
        bridge = name == "yolo"  # joins the parts of the second dog by a line of one pixel
        assert (len(wrong) > 0) == bridge, name
        assert all(found["a"][y, x] == 0 and 6 <= y < 8 for y, x in wrong), name
    lines = (tmp_path / "out/yolo/labels/train/a.txt").read_text().splitlines()
    assert sorted(line.split()[0] for line in lines) == ["0", "0", "1", "1", "2"]
    shapes = json.loads((tmp_path / "out/labelme/a.json").read_text())["shapes"]
    groups = [shape["group_id"] for shape in shapes if shape["label"] == "dog"]
    assert groups[0] is None
    assert groups[1] == groups[2] is not None


def test_pycocotools_reads_one_object_per_instance(masks, tmp_path):
    coco = pytest.importorskip("pycocotools.coco")
    labels, numbers = scene()
    convert(masks, "coco", tmp_path / "out")
    found = coco.COCO(tmp_path / "out/coco/annotations.json")
    read = {found.annToMask(one).astype(bool).tobytes() for one in found.anns.values()}
    assert read == objects_of(labels, numbers)
    scores = {found.annToMask(one).astype(bool).tobytes(): one.get("score")
              for one in found.anns.values()}  # fmt: skip
    expected = {(numbers == 1).tobytes(): 0.9, (numbers == 2).tobytes(): 0.5}
    assert {key: score for key, score in scores.items() if score is not None} == expected
    convert(masks, "coco", tmp_path / "parts", instances="parts")
    found = coco.COCO(tmp_path / "parts/coco/annotations.json")
    read = {found.annToMask(one).astype(bool).tobytes() for one in found.anns.values()}
    assert read == objects_of(labels, np.zeros_like(numbers))


def test_panoptic_files_have_things_one_by_one_and_stuff_once(masks, tmp_path):
    labels, numbers = scene()
    for given, stuff, count in (({"stuff": ["sky"]}, {"sky"}, 4), ({}, set(), 5),
                                ({"things": ["cat"]}, {"dog", "sky"}, 3)):  # fmt: skip
        convert(masks, "panoptic", tmp_path / "out", overwrite=True, **given)
        folder = tmp_path / "out/panoptic"
        fields = json.loads((folder / "panoptic.json").read_text())
        kinds = {one["name"]: one["isthing"] for one in fields["categories"]}
        assert kinds == {name: int(name not in stuff) for name in NAMES}
        [annotation] = fields["annotations"]
        colours = np.asarray(Image.open(folder / "panoptic" / annotation["file_name"])).astype(int)
        ids = colours @ [1, 256, 65536]
        infos = annotation["segments_info"]
        assert sorted(np.unique(ids[ids > 0])) == sorted(info["id"] for info in infos)
        for info in infos:  # the rules of the panoptic evaluation
            assert info["area"] == (ids == info["id"]).sum()
            assert set(labels[ids == info["id"]]) == {info["category_id"] - 1}
        categories = [info["category_id"] for info in infos]
        assert all(categories.count(NAMES.index(name) + 1) == 1 for name in stuff)
        assert len(infos) == count
        if "dog" not in stuff:
            dogs = {(ids == i["id"]).tobytes() for i in infos if i["category_id"] == 1}
            assert dogs == {(numbers == 1).tobytes(), (numbers == 2).tobytes()}


def test_things_are_all_unless_the_label_space_or_the_user_says_otherwise():
    from recoseg.datasets.spaces import label_space

    assert things_of(NAMES, None, None) == NAMES
    assert things_of(("background", "dog"), None, None) == ("dog",)
    assert things_of(NAMES, ["cat"], None) == ("cat",)
    for name, things in (("cocostuff171", 80), ("ade150", 100), ("cityscapes19", 8)):
        space = label_space(name)
        assert len(things_of(space.names, None, None)) == things
        assert set(space.stuff) < set(space.names)
    city = label_space("cityscapes19").names
    assert things_of(city, None, ["kitti_step19"]) == ("person", "car")
    assert label_space("coco_object").stuff == ("background",)
    with pytest.raises(OptionError, match="Give one of them"):
        things_of(NAMES, ["cat"], ["sky"])
    with pytest.raises(UnknownNameError, match="'sk'"):
        things_of(NAMES, None, ["sk"])


def test_the_command_takes_stuff_and_a_damaged_file_of_instances_is_told(masks, tmp_path):
    command = ("convert", masks, "--to", "panoptic", "--out", tmp_path / "o", "--stuff", "sky")
    assert run(*command).code == 0
    fields = json.loads((tmp_path / "o/panoptic/panoptic.json").read_text())
    assert [one["isthing"] for one in fields["categories"]] == [1, 0, 1]
    parts = run(*command, "--resume", "--instances", "parts")
    assert parts.code == 1  # other objects, so that nothing can be resumed
    (masks / "instances/a.png").write_bytes(b"no")
    damaged = run(*command, "--overwrite")
    assert "instances/a.png is damaged" in damaged.err
    assert run(*command, "--overwrite", "--instances", "parts").code == 0
    assert "is damaged" in run("verify", masks).out + run("verify", masks).err


def test_a_photo_without_instances_such_as_a_raster_is_finished(tmp_path):
    def opened(**options):
        writers = ("labels", "instances")
        return OutputFolder(tmp_path / "m", NAMES, ((9, 9, 9),) * 3, writers=writers, **options)

    photo = Photo("a.tif", stamp="1")
    with opened() as folder:
        [(name, _)] = folder.missing([photo])
        made = {"labels": (".tif", lambda path: write_bytes(path, b"labels"))}
        folder.write_made(name, photo, dict, made)
    with opened(resume=True) as folder:
        assert folder.missing([photo]) == []
