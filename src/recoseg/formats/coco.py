"""COCO's JSON of objects (`coco`) and of classes (`coco-stuff`)."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from recoseg.formats.outlines import one_ring, simplified
from recoseg.formats.photo_files import PhotoFile
from recoseg.formats.place import Place, Spool, write_pieces
from recoseg.formats.protocol import Format, FormatSettings, Labelled
from recoseg.formats.regions import Region

FILE = "annotations.json"


def categories(settings: FormatSettings) -> list[dict[str, Any]]:
    """The categories of the classes; a class has its label plus 1, so that 0 stays background."""
    things = set(settings.things)
    return [
        {
            "id": label + 1,
            "name": name,
            "supercategory": "",
            "isthing": int(name in things),
            "color": list(colour),
        }
        for label, (name, colour) in enumerate(zip(settings.names, settings.palette, strict=True))
    ]


def image_fields(item: Labelled, photo: PhotoFile) -> dict[str, Any]:
    """The fields of a photo among a file's images."""
    height, width = item.size
    return {
        "id": item.number,
        "file_name": photo.named(item.name),
        "height": height,
        "width": width,
    }


def run_length(item: Labelled, region: Region) -> dict[str, Any]:
    """The mask of a region as COCO's compressed run lengths: `size` (h, w) and `counts`."""
    from pycocotools import mask

    height, width = item.size
    found = mask.encode(np.asfortranarray(region.whole(height, width), np.uint8))
    return {"size": [height, width], "counts": found["counts"].decode("ascii")}


def polygons(item: Labelled, region: Region) -> list[list[float]]:
    """The simplified outlines of a region's parts as COCO has them: x, y, x, y and so on."""
    simple = [simplified(one, item.settings.tolerance) for one in item.outlines(region)]
    return [one_ring([polygon]).ravel().tolist() for polygon in simple]


def write_whole(path: Path, settings: FormatSettings, images: Spool, annotations: Spool) -> None:
    """Write the JSON file of all photos.

    Args:
        path: The file.
        settings: Whose classes become the categories.
        images: The fields of each photo.
        annotations: The fields of each annotation.
    """
    own = json.dumps(categories(settings), ensure_ascii=False)
    write_pieces(
        path,
        '{"info": {"description": "recoseg"}, "licenses": [], "images": [\n',
        images,
        '\n], "annotations": [\n',
        annotations,
        f'\n], "categories": {own}}}\n',
    )


class CocoFile(Format):
    """A JSON file whose annotations are regions; masks are exact run lengths, or polygons."""

    needs = (("pycocotools", "pycocotools", "formats"),)

    def __init__(self, place: Place, settings: FormatSettings) -> None:
        super().__init__(place, settings)
        self._images, self._annotations = place.spool("images"), place.spool("annotations")
        self._count = 0

    def add(self, item: Labelled, photo: PhotoFile) -> None:
        """See `Format`."""
        self._images.add_json(image_fields(item, photo))
        for region in self.regions(item):
            self._count += 1
            self._annotations.add_json(
                {
                    "id": self._count,
                    "image_id": item.number,
                    "category_id": region.label + 1,
                    "segmentation": self._segmentation(item, region),
                    "area": region.area,
                    "bbox": list(region.box),
                    "iscrowd": 0,
                    **({} if region.score is None else {"score": round(region.score, 6)}),
                }
            )

    def finish(self) -> None:
        """See `Format`."""
        write_whole(self.place.path(FILE), self.settings, self._images, self._annotations)

    def state(self, number: int) -> dict[str, int]:
        """See `Format`."""
        return {**super().state(number), "count": self._count}

    def restore(self, state: Mapping[str, int]) -> None:
        """See `Format`."""
        super().restore(state)
        self._count = state.get("count", 0)

    @abstractmethod
    def regions(self, item: Labelled) -> list[Region]:
        """The regions of a photo that become annotations."""

    def _segmentation(self, item: Labelled, region: Region) -> dict[str, Any] | list[list[float]]:
        return polygons(item, region) if self.settings.polygons else run_length(item, region)


class Coco(CocoFile):
    """One annotation for each region."""

    def regions(self, item: Labelled) -> list[Region]:
        """See `CocoFile`."""
        return item.regions


class CocoStuff(CocoFile):
    """One annotation for each class in a photo."""

    def regions(self, item: Labelled) -> list[Region]:
        """See `CocoFile`."""
        return item.classes
