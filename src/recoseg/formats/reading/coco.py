"""COCO's JSON files: objects, stuff and panoptic segments."""

from __future__ import annotations

from collections import defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt

from recoseg.formats.reading.masks import (
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
from recoseg.formats.reading.pixels import coco_lengths, fill, from_runs
from recoseg.formats.reading.values import read_values


def read_coco(path: Path, root: Path) -> FormatMasks:
    """Annotations with polygons or run lengths; later ones lie over earlier ones.

    Args:
        path: The JSON file.
        root: The folder of the format.

    Raises:
        DatasetError: The file is not as expected.
    """
    fields = read_fields(path)
    with understood(path, "coco"):
        names, labels = _categories(fields, path)
        shapes: dict[Any, list[tuple[int, Any]]] = defaultdict(list)
        for item in fields["annotations"]:
            shapes[item["image_id"]].append((labels[item["category_id"]], item["segmentation"]))
        read = {
            without_suffix(image["file_name"]): partial(
                _annotated, image["height"], image["width"], shapes.get(image["id"], []), len(names)
            )
            for image in fields["images"]
        }
    return FormatMasks("coco", path, names, read, root / "images")


def read_panoptic(path: Path, root: Path) -> FormatMasks:
    """Segments; their PNG files are in the folder with the name of the JSON file beside it.

    Args:
        path: The JSON file.
        root: The folder of the format.

    Raises:
        DatasetError: The file is not as expected.
    """
    fields = read_fields(path)
    with understood(path, "panoptic"):
        names, labels = _categories(fields, path)
        images = {image["id"]: image["file_name"] for image in fields["images"]}
        folder = path.with_suffix("")
        read = {}
        for item in fields["annotations"]:
            segments = {info["id"]: labels[info["category_id"]] for info in item["segments_info"]}
            name = without_suffix(images[item["image_id"]])
            read[name] = partial(_segments, folder, item["file_name"], segments, len(names))
    return FormatMasks("panoptic", path, names, read, root / "images")


def _categories(fields: Any, path: Path) -> tuple[tuple[str, ...], dict[int, int]]:
    """The classes in the order of their numbers, and the label of each number."""
    found = sorted(fields["categories"], key=lambda category: category["id"])
    names = numbered([category["name"] for category in found], path)
    return tuple(names), {category["id"]: names[category["name"]] for category in found}


def _annotated(
    height: int, width: int, shapes: list[tuple[int, Any]], classes: int
) -> UInt[np.ndarray, "h w"]:
    with of_photo("coco"):
        labels = canvas(height, width, classes)
        for label, segmentation in shapes:
            for placed in _placed(segmentation, height, width):
                paint(labels, label, placed)
    return labels


def _placed(segmentation: Any, height: int, width: int) -> list[Placed]:
    if isinstance(segmentation, list):
        return [fill(np.reshape(ring, (-1, 2))) for ring in segmentation]
    if list(segmentation["size"]) != [height, width]:
        raise ValueError(f"run lengths of {segmentation['size']}, expected {[height, width]}")
    counts = segmentation["counts"]
    lengths = coco_lengths(counts) if isinstance(counts, str) else counts
    return [(from_runs(lengths, width, height).T, 0, 0)]


def _segments(
    folder: Path, name: str, segments: dict[int, int], classes: int
) -> UInt[np.ndarray, "h w"]:
    with of_photo("panoptic"):
        colours = read_values(folder, name).astype(np.int64)
        if colours.ndim == 2:
            colours = colours[..., None]
        numbers = sum(colours[..., place] << 8 * place for place in range(colours.shape[2])[:3])
        labels = canvas(colours.shape[0], colours.shape[1], classes)
        known, where = np.unique(numbers, return_inverse=True)
        ignored = labels[0, 0]
        table = [ignored if number == 0 else segments[number] for number in known.tolist()]
        return np.array(table, labels.dtype)[where.reshape(labels.shape)]
