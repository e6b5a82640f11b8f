"""What is sent of a segmented photo: JSON, label maps, and files in the formats of other tools."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from PIL import Image

from recoseg.drawing.overlay import draw_overlay
from recoseg.drawing.palette import hex_colour
from recoseg.errors import MissingExtraError, UnknownNameError
from recoseg.formats.coco import polygons, run_length
from recoseg.formats.format_table import FORMATS
from recoseg.formats.one_photo import files_of_photo
from recoseg.formats.protocol import SHAPELY, FormatSettings, Labelled
from recoseg.labels import Segmentation
from recoseg.pipeline.things import things_of
from recoseg.segmentation.certainty import certainty
from recoseg.serving.kept import KeptResult
from recoseg.writers.formats import encode_jpeg, encode_label_map, encode_png

Shapes = Literal["none", "rle", "polygons"]

_TITLES = {
    "palette": "Label map (PNG with the colours of the classes)",
    "overlay": "Photo with its classes painted over it (JPEG)",
    "coco": "COCO, one object for each region",
    "coco-stuff": "COCO, one object for each class",
    "panoptic": "COCO panoptic",
    "yolo": "YOLO",
    "labelme": "LabelMe",
    "voc": "Pascal VOC",
    "cvat": "CVAT",
    "label-studio": "Label Studio",
    "huggingface": "Hugging Face data set",
    "geotiff": "GeoTIFF",
    "gpkg": "GeoPackage",
}
"""What downloads are called, by the name of their format."""

TITLES = {name: _TITLES.get(name, name) for name in ("palette", "overlay", *FORMATS)}
"""The formats of downloads, each with what it is called."""


@dataclass(frozen=True)
class Download:
    """A file to download.

    Attributes:
        name: Its name.
        media_type: Its type.
        content: Its content.
    """

    name: str
    media_type: str
    content: bytes


def describe(segmentation: Segmentation, shapes: Shapes = "none") -> dict[str, Any]:
    """A segmentation as JSON fields.

    Args:
        segmentation: The label map.
        shapes: Whether each class has its mask as COCO's compressed run lengths (`rle`), or as the
            outlines of its parts, each a list x, y, x, y and so on (`polygons`).

    Returns:
        `width`, `height`, and the classes that are present, the largest first.

    Raises:
        MissingExtraError: The package for the shapes is not installed.
    """
    height, width = segmentation.labels.shape
    names = segmentation.names
    areas = segmentation.areas()
    confidence = segmentation.confidence(areas)
    masks = _shapes(segmentation, shapes)
    classes = []
    for name, share in areas.items():
        label = names.index(name)
        entry = {
            "label": label,
            "name": name,
            "colour": hex_colour(segmentation.palette[label]),
            "share": share,
            "confidence": confidence.get(name),
        }
        classes.append(entry | masks.get(label, {}))
    return {"width": width, "height": height, "classes": classes}


def _shapes(segmentation: Segmentation, shapes: Shapes) -> Mapping[int, dict[str, Any]]:
    """The mask of each label as JSON fields."""
    if shapes == "none":
        return {}
    settings = FormatSettings(segmentation.names, segmentation.palette)
    item = Labelled(1, "photo", segmentation.labels, settings)
    if shapes == "rle":
        _require("pycocotools", "pycocotools", "formats")
        return {region.label: {"rle": run_length(item, region)} for region in item.classes}
    _require(*SHAPELY)
    return {region.label: {"polygons": polygons(item, region)} for region in item.classes}


def label_layer(segmentation: Segmentation) -> bytes:
    """The labels as a grey PNG, of 16 bits if there are more than 255 classes."""
    return encode_png(Image.fromarray(segmentation.labels))


def certainty_layer(segmentation: Segmentation) -> bytes:
    """The certainty of each pixel as a grey PNG of 8 bits; see `certainty`."""
    return encode_png(Image.fromarray(certainty(segmentation)))


def download(result: KeptResult, segmentation: Segmentation, form: str) -> Download:
    """A segmented photo as a file in some format; several files are put into a zip file.

    Args:
        result: The photo.
        segmentation: Its label map, which may have been thresholded.
        form: Name of the format, one of `TITLES`.

    Raises:
        UnknownNameError: There is no such format; the message lists all.
        MissingExtraError: A package that the format needs is not installed.
        RecosegError: The format holds fewer classes.
    """
    if form == "palette":
        return Download(f"{result.name}.png", "image/png", encode_label_map(segmentation))
    if form == "overlay":
        picture = encode_jpeg(draw_overlay(result.image, segmentation))
        return Download(f"{result.name}-overlay.jpg", "image/jpeg", picture)
    if form not in FORMATS:
        raise UnknownNameError("format", form, list(TITLES))
    things = things_of(segmentation.names, None, None)
    files = files_of_photo(segmentation, result.photo, form, result.name, things)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"{form}/{name}", content)
    return Download(f"{result.name}-{form}.zip", "application/zip", buffer.getvalue())


def _require(module: str, package: str, extra: str) -> None:
    """Refuse shapes whose package is not installed.

    Raises:
        MissingExtraError: It is not installed.
    """
    if find_spec(module) is None:
        raise MissingExtraError(package, extra, "This form of masks")
