"""Formats of polygons and brushes: YOLO, LabelMe, CVAT and Label Studio."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as Xml

import numpy as np
from jaxtyping import UInt

from recoseg.errors import BadImageError, DatasetError, FileError
from recoseg.formats.label_studio import INTERFACE
from recoseg.formats.reading.masks import (
    MAX_FILE,
    FormatMasks,
    Placed,
    canvas,
    numbered,
    of_photo,
    paint,
    read_fields,
    understood,
    without_suffix,
)
from recoseg.formats.reading.pixels import fill, from_brush, from_runs
from recoseg.photos.images import upright_size
from recoseg.photos.refs import IMAGE_SUFFIXES
from recoseg.storage.reading import read_bytes, read_lines, read_text, why


def read_yolo(path: Path, root: Path) -> FormatMasks:
    """Outlines as fractions of the photos' sides; the photos have to be beside them.

    Args:
        path: The file `data.yaml`.
        root: Its folder.

    Raises:
        DatasetError: The file is not as expected.
    """
    import yaml

    try:
        fields = yaml.safe_load(read_text(path))
    except (FileError, yaml.YAMLError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    with understood(path, "yolo"):
        listed = fields["names"]
        ordered = [listed[k] for k in sorted(listed)] if isinstance(listed, dict) else listed
        names = numbered([str(name) for name in ordered], path)
        read = {}
        for split in ("train", "val", "test"):
            folder = root / str(fields.get(split) or "")
            for photo in sorted(folder.rglob("*")) if folder != root else ():
                if photo.suffix.lower() in IMAGE_SUFFIXES:
                    # Ultralytics takes the last folder `images` of the path.
                    before, _, after = f"/{photo.relative_to(root).as_posix()}".rpartition(
                        "/images/"
                    )
                    text = root / f"{before}/labels/{without_suffix(after)}.txt".lstrip("/")
                    name = without_suffix(photo.relative_to(folder).as_posix())
                    read[name] = partial(_yolo, photo, text, len(names))
    return FormatMasks("yolo", path, tuple(names), read, root / str(fields.get("train") or ""))


def _yolo(photo: Path, text: Path, classes: int) -> UInt[np.ndarray, "h w"]:
    with of_photo("yolo"):
        height, width = upright_size(photo)
        labels = canvas(height, width, classes)
        for line in read_lines(text) if text.is_file() else ():
            if line.strip():
                label, *numbers = line.split()
                ring = np.reshape(np.array(numbers, float), (-1, 2)) * (width, height)
                paint(labels, _known(int(label), classes), fill(ring))
    return labels


def _known(label: int, classes: int) -> int:
    if not 0 <= label < classes:
        raise ValueError(f"{label} is none of the {classes} classes")
    return label


def read_labelme(path: Path, root: Path) -> FormatMasks:
    """A JSON file for each photo; `labels.txt` lists the classes, or else they are sorted.

    Args:
        path: The folder of the files.
        root: The same.

    Raises:
        DatasetError: A file is not as expected.
    """
    listed: list[str] = []
    if (path / "labels.txt").is_file():
        listed = [line for line in read_lines(path / "labels.txt") if line]
    found = set()
    read = {}
    files = {}
    for file in sorted(path.rglob("*.json")):
        fields = read_fields(file)
        if isinstance(fields, dict) and "shapes" in fields:
            with understood(file, "labelme"):
                found |= {shape["label"] for shape in fields["shapes"]}
            files[without_suffix(file.relative_to(path).as_posix())] = file
    names = numbered([*listed, *sorted(found - set(listed))], path)
    for name, file in files.items():
        read[name] = partial(_labelme, file, names)
    return FormatMasks("labelme", path, tuple(names), read, root)


def _labelme(file: Path, names: Mapping[str, int]) -> UInt[np.ndarray, "h w"]:
    with of_photo("labelme"):
        try:
            fields = read_fields(file)
        except DatasetError as error:
            raise BadImageError(str(error).rstrip(".")) from error
        labels = canvas(fields["imageHeight"], fields["imageWidth"], len(names))
        for shape in fields["shapes"]:
            points = shape["points"]
            if shape["shape_type"] == "rectangle" and len(points) == 2:
                (left, top), (right, bottom) = points
                points = [(left, top), (right, top), (right, bottom), (left, bottom)]
            elif shape["shape_type"] not in ("polygon", "rectangle"):
                raise ValueError(f"a shape {shape['shape_type']!r}; expected polygons")
            paint(labels, names[shape["label"]], fill(points))
    return labels


def read_cvat(path: Path, root: Path) -> FormatMasks:
    """Masks, polygons and boxes, in the order of their layers.

    Args:
        path: The XML file.
        root: The folder of the format.

    Raises:
        DatasetError: The file is not as expected.
    """
    try:
        top = Xml.fromstring(read_bytes(path, MAX_FILE))
    except (FileError, Xml.ParseError) as error:
        raise DatasetError(f"{path} cannot be read: {error}") from error
    with understood(path, "cvat"):
        listed = [label.findtext("name", "") for label in top.iterfind(".//labels/label")]
        used = {shape.get("label", "") for image in top.iter("image") for shape in image}
        names = numbered([*listed, *sorted(used - set(listed))], path)
        read = {
            without_suffix(image.attrib["name"]): partial(_cvat, image, names)
            for image in top.iter("image")
        }
    return FormatMasks("cvat", path, tuple(names), read, root / "images")


def _cvat(image: Xml.Element, names: Mapping[str, int]) -> UInt[np.ndarray, "h w"]:
    with of_photo("cvat"):
        labels = canvas(int(image.attrib["height"]), int(image.attrib["width"]), len(names))
        for shape in sorted(image, key=lambda shape: int(shape.get("z_order", "0"))):
            if shape.tag in ("mask", "polygon", "box"):
                paint(labels, names[shape.attrib["label"]], _cvat_shape(shape))
    return labels


def _cvat_shape(shape: Xml.Element) -> Placed:
    fields = shape.attrib
    if shape.tag == "mask":
        left, top, width, height = (int(fields[k]) for k in ("left", "top", "width", "height"))
        runs = [int(text) for text in fields["rle"].split(",")]
        return from_runs(runs, height, width), left, top
    if shape.tag == "box":
        x0, y0, x1, y1 = (float(fields[k]) for k in ("xtl", "ytl", "xbr", "ybr"))
        return fill([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    pairs = [pair.split(",") for pair in fields["points"].split(";")]
    return fill([(float(x), float(y)) for x, y in pairs])


def read_label_studio(path: Path, root: Path) -> FormatMasks:
    """Brushes and polygons of the annotations of tasks, or, without them, of their predictions.

    Args:
        path: The JSON file of tasks.
        root: The folder of the format, where `labeling_config.xml` may give the order of classes.

    Raises:
        DatasetError: The files are not as expected.
    """
    tasks = read_fields(path)
    listed: list[str] = []
    if (root / INTERFACE).is_file():
        with understood(root / INTERFACE, "label-studio"):
            try:
                view = Xml.fromstring(read_bytes(root / INTERFACE, MAX_FILE))
            except (FileError, Xml.ParseError) as error:
                raise DatasetError(f"{root / INTERFACE} cannot be read: {why(error)}.") from error
            listed = [label.attrib["value"] for label in view.iter("Label")]
    with understood(path, "label-studio"):
        shapes = {_task_name(task): (_size(task), _results(task)) for task in tasks}
        used = {name for _, results in shapes.values() for name, _ in results}
        names = numbered([*listed, *sorted(used - set(listed))], path)
        read = {name: partial(_task, *found, names) for name, found in shapes.items()}
    return FormatMasks("label-studio", path, tuple(names), read, root / "images")


def _task_name(task: Any) -> str:
    """The name of a task's photo: the path of a local file, or the last part of an address."""
    address = task["data"]["image"]
    local = re.search(r"[?&]d=([^&]*)", address)
    path = unquote(local[1] if local else urlsplit(address).path.rpartition("/")[2])
    return without_suffix(path.removeprefix("images/"))


def _shapes(task: Any) -> list[Any]:
    """The results of a task: of its first annotation that has any, or else of its prediction."""
    done = [item for item in task.get("annotations") or () if item.get("result")]
    found: list[Any] = [*done, *(task.get("predictions") or ())]
    return list(found[0]["result"]) if found else []


def _size(task: Any) -> tuple[int, int]:
    """Height and width of a task's photo; zeros if nothing tells it."""
    for result in _shapes(task):
        return result["original_height"], result["original_width"]
    return task["data"].get("height", 0), task["data"].get("width", 0)


def _results(task: Any) -> list[tuple[str, Any]]:
    """The class and the value of each shape of a task."""
    return [
        (result["value"][result["type"]][0], result["value"])
        for result in _shapes(task)
        if result["type"] in ("brushlabels", "polygonlabels")
    ]


def _task(
    size: tuple[int, int], results: list[tuple[str, Any]], names: Mapping[str, int]
) -> UInt[np.ndarray, "h w"]:
    height, width = size
    with of_photo("label-studio"):
        labels = canvas(height, width, len(names))
        for name, value in results:
            if "rle" in value:
                placed = (from_brush(value["rle"], height, width), 0, 0)
            else:
                placed = fill(np.array(value["points"], float).round(9) * (width, height) / 100)
            paint(labels, names[name], placed)
    return labels
