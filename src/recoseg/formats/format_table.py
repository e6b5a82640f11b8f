"""The formats of other tools, by name."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec

from recoseg.errors import MissingExtraError, RecosegError, UnknownNameError
from recoseg.formats.coco import Coco, CocoStuff
from recoseg.formats.cvat import Cvat
from recoseg.formats.geopackage import GeoPackage
from recoseg.formats.geotiff import GeoTiff
from recoseg.formats.huggingface import HuggingFace
from recoseg.formats.label_studio import LabelStudio
from recoseg.formats.labelme import LabelMe
from recoseg.formats.panoptic import Panoptic
from recoseg.formats.protocol import SHAPELY, Format
from recoseg.formats.voc import Voc
from recoseg.formats.yolo import Yolo

FORMATS: dict[str, type[Format]] = {
    "coco": Coco,
    "coco-stuff": CocoStuff,
    "panoptic": Panoptic,
    "yolo": Yolo,
    "labelme": LabelMe,
    "voc": Voc,
    "cvat": Cvat,
    "label-studio": LabelStudio,
    "huggingface": HuggingFace,
    "geotiff": GeoTiff,
    "gpkg": GeoPackage,
}
"""What writes each format."""


def formats_of(
    names: Sequence[str], classes: int = 0, *, polygons: bool = False
) -> dict[str, type[Format]]:
    """The formats of some names, each once.

    Args:
        names: The names.
        classes: How many classes there are.
        polygons: Whether polygons are written where a format also has exact masks.

    Raises:
        MissingExtraError: A package that a format needs is not installed.
        UnknownNameError: There is no such format; the message lists all.
        RecosegError: No name is given, or a format holds fewer classes.
    """
    if not names:
        raise RecosegError(f"No format is given. Expected one or more of {', '.join(FORMATS)}.")
    found = {}
    for name in names:
        if name not in FORMATS:
            raise UnknownNameError("format", name, list(FORMATS))
        found[name] = FORMATS[name]
        needs = (*found[name].needs, *((SHAPELY,) if polygons else ()))
        for module, package, extra in needs:
            if find_spec(module) is None:
                raise MissingExtraError(package, extra, f"The format {name}")
        most = found[name].most_classes
        if classes > most:
            raise RecosegError(
                f"The format {name} holds at most {most:,} classes; the masks have {classes:,}. "
                "Choose another format."
            )
    return found
