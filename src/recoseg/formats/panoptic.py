"""COCO's panoptic format: PNG files whose colours are segments, and a JSON file about them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from recoseg.formats.coco import image_fields, write_whole
from recoseg.formats.photo_files import PhotoFile
from recoseg.formats.place import Place
from recoseg.formats.protocol import Format, FormatSettings, Labelled
from recoseg.formats.regions import Region
from recoseg.writers.formats import encode_png

FILE = "panoptic.json"
MASKS = "panoptic"


class Panoptic(Format):
    """One segment for each object of things, and one for all of a class of stuff in a photo.

    The number of a segment is red + 256 green + 65536 blue; 0 is background.
    """

    def __init__(self, place: Place, settings: FormatSettings) -> None:
        super().__init__(place, settings)
        self._images, self._annotations = place.spool("images"), place.spool("annotations")
        self._things = {settings.names.index(name) for name in settings.things}

    def add(self, item: Labelled, photo: PhotoFile) -> None:
        """See `Format`."""
        segments = np.zeros((*item.size, 3), np.uint8)
        found = []
        for number, region in enumerate(self._regions(item), start=1):
            left, top, right, bottom = region.corners
            code = [number & 255, number >> 8 & 255, number >> 16]
            segments[top:bottom, left:right][region.mask] = code
            found.append(
                {
                    "id": number,
                    "category_id": region.label + 1,
                    "area": region.area,
                    "bbox": list(region.box),
                    "iscrowd": 0,
                }
            )
        self.place.write(f"{MASKS}/{item.name}.png", encode_png(Image.fromarray(segments)))
        self._images.add_json(image_fields(item, photo))
        self._annotations.add_json(
            {"image_id": item.number, "file_name": f"{item.name}.png", "segments_info": found}
        )

    def _regions(self, item: Labelled) -> list[Region]:
        things = [region for region in item.regions if region.label in self._things]
        return [region for region in item.classes if region.label not in self._things] + things

    def finish(self) -> None:
        """See `Format`."""
        write_whole(self.place.path(FILE), self.settings, self._images, self._annotations)
