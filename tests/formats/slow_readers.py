"""Readers of the formats, written from their definitions, slow and without recoseg's code.

Each gives the label maps by the names of the photos without suffix, 255 (or 65535) for background.
"""

from __future__ import annotations

import io
import json
import re
import xml.etree.ElementTree as Xml
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow.parquet as pq
from PIL import Image


def stem(name: str) -> str:
    return name[: name.rindex(".")]


def empty(height: int, width: int, classes: int) -> np.ndarray:
    wide = classes > 255
    return np.full((height, width), 65535 if wide else 255, np.uint16 if wide else np.uint8)


def inside(points, height: int, width: int) -> np.ndarray:
    """The pixels whose centre is within a polygon, by counting the sides above it."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    odd = np.zeros((height, width), bool)
    for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True):
        if x0 != x1:
            at = y0 + (x - x0) * (y1 - y0) / (x1 - x0)
            odd ^= ((x0 <= x) != (x1 <= x)) & (at < y)
    return odd


def painted(points, height: int, width: int) -> np.ndarray:
    """The pixels within a polygon, and those that its outline runs through."""
    found = inside(points, height, width)
    for start, stop in zip(points, [*points[1:], points[0]], strict=True):
        steps = int(np.ceil(np.abs(np.subtract(stop, start)).max() * 20)) + 1
        line = np.floor(np.linspace(start, stop, steps + 1)).astype(int)
        found[line[:, 1], line[:, 0]] = True
    return found


def compressed(text: str) -> list[int]:
    """The numbers of COCO's compressed run lengths."""
    numbers: list[int] = []
    place = 0
    while place < len(text):
        value, shift, more = 0, 0, True
        while more:
            code = ord(text[place]) - 48
            value |= (code & 31) << shift
            more, place, shift = bool(code & 32), place + 1, shift + 5
        if code & 16:
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
    return numbers


def runs(lengths) -> list[bool]:
    """The truth values of lengths of 0s and 1s in turn."""
    return [bool(turn % 2) for turn, length in enumerate(lengths) for _ in range(length)]


def read_coco(folder: Path, classes: int):
    fields = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
    sizes = {image["id"]: (image["height"], image["width"]) for image in fields["images"]}
    found = {number: empty(*size, classes) for number, size in sizes.items()}
    for annotation in fields["annotations"]:
        height, width = sizes[annotation["image_id"]]
        shape = annotation["segmentation"]
        if isinstance(shape, dict):
            assert shape["size"] == [height, width]
            mask = np.reshape(runs(compressed(shape["counts"])), (width, height)).T
        else:
            mask = np.zeros((height, width), bool)
            for ring in shape:
                mask |= inside(list(zip(ring[::2], ring[1::2], strict=True)), height, width)
        rows, columns = np.nonzero(mask)
        left, top, across, down = annotation["bbox"]
        if isinstance(shape, dict):
            assert annotation["area"] == mask.sum()
            assert (left, top) == (columns.min(), rows.min())
            assert (left + across - 1, top + down - 1) == (columns.max(), rows.max())
        found[annotation["image_id"]][mask] = annotation["category_id"] - 1
    return {stem(image["file_name"]): found[image["id"]] for image in fields["images"]}


def read_panoptic(folder: Path, classes: int):
    fields = json.loads((folder / "panoptic.json").read_text(encoding="utf-8"))
    images = {image["id"]: image for image in fields["images"]}
    found = {}
    for annotation in fields["annotations"]:
        image = images[annotation["image_id"]]
        colours = np.asarray(Image.open(folder / "panoptic" / annotation["file_name"])).astype(int)
        numbers = colours @ [1, 256, 65536]
        labels = empty(image["height"], image["width"], classes)
        infos = annotation["segments_info"]
        assert set(np.unique(numbers)) - {0} == {info["id"] for info in infos}
        for info in infos:
            assert info["area"] == (numbers == info["id"]).sum()
            labels[numbers == info["id"]] = info["category_id"] - 1
        found[stem(image["file_name"])] = labels
    return found


def read_yolo(folder: Path, classes: int):
    found = {}
    for path in sorted(p for p in (folder / "images").rglob("*.*") if p.suffix != ".txt"):
        relative = path.relative_to(folder).as_posix()
        text = folder / "/labels/".join(f"/{stem(relative)}.txt".rsplit("/images/", 1)).lstrip("/")
        width, height = Image.open(path).size
        labels = empty(height, width, classes)
        for line in text.read_text().splitlines():
            label, *numbers = line.split()
            points = np.reshape([float(number) for number in numbers], (-1, 2)) * (width, height)
            labels[painted(points.tolist(), height, width)] = int(label)
        found[stem(relative.removeprefix("images/train/"))] = labels
    return found


def read_labelme(folder: Path, classes: int):
    names = (folder / "labels.txt").read_text(encoding="utf-8").split("\n")
    found = {}
    for path in sorted(folder.rglob("*.json")):
        fields = json.loads(path.read_text(encoding="utf-8"))
        assert Image.open(path.parent / fields["imagePath"]).size == (
            fields["imageWidth"],
            fields["imageHeight"],
        )
        labels = empty(fields["imageHeight"], fields["imageWidth"], classes)
        for shape in fields["shapes"]:
            labels[painted(shape["points"], *labels.shape)] = names.index(shape["label"])
        found[path.relative_to(folder).as_posix().removesuffix(".json")] = labels
    return found


def read_voc(folder: Path, classes: int):
    found = {}
    listed = (folder / "ImageSets/Segmentation/train.txt").read_text(encoding="utf-8")
    for name in listed.split("\n")[:-1]:
        values = np.asarray(Image.open(folder / f"SegmentationClass/{name}.png")).astype(int)
        objects = np.asarray(Image.open(folder / f"SegmentationObject/{name}.png"))
        assert ((objects == 0) == (values == 0)).all()
        assert Image.open(folder / f"JPEGImages/{name}.jpg").size == values.shape[::-1]
        found[name] = np.where(values == 0, 255, values - 1).astype(np.uint8)
    return found


def read_cvat(folder: Path, classes: int):
    root = Xml.parse(folder / "annotations.xml").getroot()
    names = [label.findtext("name") for label in root.iter("label")]
    assert root.findtext("version") == "1.1"
    found = {}
    for image in root.iter("image"):
        height, width = int(image.get("height")), int(image.get("width"))
        labels = empty(height, width, classes)
        for shape in image:
            label = names.index(shape.get("label"))
            if shape.tag == "mask":
                left, top, across, down = (
                    int(shape.get(key)) for key in ("left", "top", "width", "height")
                )
                values = runs([int(text) for text in shape.get("rle").split(",")])
                part = labels[top : top + down, left : left + across]
                part[np.reshape(values, (down, across))] = label
            else:
                points = [
                    tuple(map(float, pair.split(","))) for pair in shape.get("points").split(";")
                ]
                labels[inside(points, height, width)] = label
        found[stem(image.get("name"))] = labels
    return found


def brush(numbers: list[int]) -> list[int]:
    """The values of Label Studio's run lengths, bit by bit."""
    bits = "".join(f"{number:08b}" for number in numbers)
    place = 0

    def take(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)

    total, word = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        is_run = take(1)
        count = take(sizes[take(2)]) + 1
        values += [take(word)] * count if is_run else [take(word) for _ in range(count)]
    return values


def read_label_studio(folder: Path, classes: int):
    view = Xml.parse(folder / "labeling_config.xml").getroot()
    names = [label.get("value") for label in view.iter("Label")]
    found = {}
    for task in json.loads((folder / "tasks.json").read_text(encoding="utf-8")):
        file = unquote(re.fullmatch(r"/data/local-files/\?d=(.*)", task["data"]["image"])[1])
        width, height = Image.open(folder / file).size
        labels = empty(height, width, classes)
        for result in task["predictions"][0]["result"]:
            assert (result["original_width"], result["original_height"]) == (width, height)
            value = result["value"]
            [name] = value[result["type"]]
            if "rle" in value:
                alpha = np.reshape(brush(value["rle"]), (height, width, 4))[..., 3]
                labels[alpha == 255] = names.index(name)
            else:
                points = np.array(value["points"]) * (width, height) / 100
                labels[inside(points.round(6).tolist(), height, width)] = names.index(name)
        found[stem(file.removeprefix("images/"))] = labels
    return found


def read_huggingface(folder: Path, classes: int):
    found = {}
    for path in sorted((folder / "data").glob("*.parquet")):
        for row in pq.read_table(path).to_pylist():
            mask = np.asarray(Image.open(io.BytesIO(row["mask"]["bytes"])))
            assert Image.open(io.BytesIO(row["image"]["bytes"])).size == mask.shape[::-1]
            background = 255 if classes <= 255 else 65535
            assert sorted(row["classes"]) == [n for n in np.unique(mask) if n != background]
            found[row["name"]] = mask
    return found


READERS = {
    "coco": read_coco,
    "coco-stuff": read_coco,
    "panoptic": read_panoptic,
    "yolo": read_yolo,
    "labelme": read_labelme,
    "voc": read_voc,
    "cvat": read_cvat,
    "label-studio": read_label_studio,
    "huggingface": read_huggingface,
}
