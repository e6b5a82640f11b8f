"""Pascal VOC's folders: palette PNG files of classes and of objects, and lists of photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from PIL import Image

from recoseg.classes import class_list
from recoseg.formats.photo_files import PhotoFile
from recoseg.formats.place import Place, write_pieces
from recoseg.formats.protocol import Format, FormatSettings, Labelled
from recoseg.writers.formats import encode_png

CLASSES = "SegmentationClass"
OBJECTS = "SegmentationObject"
LIST = "ImageSets/Segmentation/train.txt"
LABEL_MAP = "labelmap.txt"
NAMES = "classes.txt"
_MOST_OBJECTS = 254


def voc_colours() -> np.ndarray:
    """The colours of VOC's values, (256, 3): three bits of a value for each place of a colour.

    Example:
        >>> voc_colours()[[1, 15, 255]].tolist()
        [[128, 0, 0], [192, 128, 128], [224, 224, 192]]
    """
    values = np.arange(256)[:, None] >> np.arange(3)
    places = [(values >> 3 * place & 1) << 7 - place for place in range(3)]
    return np.sum(places, axis=0).astype(np.uint8)


def map_names(names: Sequence[str]) -> list[str]:
    """Names for `labelmap.txt`, whose lines begin with a name and a colon; all different.

    Example:
        >>> map_names(["a:b", "background", "#1"])
        ['background_2', 'a_b', 'background', '_1']
    """
    plain = [name.replace(":", "_").strip() for name in names]
    plain = [f"_{name[1:]}" if name.startswith("#") else name for name in plain]
    used = set(plain)
    found: list[str] = []
    for wanted, is_own in [("background", False), *((name, True) for name in plain)]:
        name, count = wanted, 1
        while name in found or (not is_own and name in used):
            count += 1
            name = f"{wanted}_{count}"
        found.append(name)
    return found


class Voc(Format):
    """Masks whose value 0 is background and 1, 2, ... are the classes in their order.

    `SegmentationObject` numbers the regions from 1 on; with more than 254 of them in a
    photo, the smallest have the value 255, which VOC ignores.
    """

    photos: ClassVar[Literal["copy", "none", "embed"]] = "copy"
    photos_in = "JPEGImages/"
    only_jpeg = True
    most_classes = 254

    def __init__(self, place: Place, settings: FormatSettings) -> None:
        super().__init__(place, settings)
        self._list = place.spool("list")

    def add(self, item: Labelled, photo: PhotoFile) -> None:
        """See `Format`."""
        ignored = self.settings.ignored
        table = np.zeros(ignored + 1, np.uint8)
        table[: len(self.settings.names)] = np.arange(1, len(self.settings.names) + 1)
        self._write(f"{CLASSES}/{item.name}.png", table[item.labels])
        objects = np.zeros(item.size, np.uint8)
        by_size = sorted(item.regions, key=lambda region: -region.area)
        numbered = {region.numbers[0] for region in by_size[:_MOST_OBJECTS]}
        number = 0
        for region in item.regions:
            is_numbered = region.numbers[0] in numbered
            number += is_numbered
            left, top, right, bottom = region.corners
            objects[top:bottom, left:right][region.mask] = number if is_numbered else 255
        self._write(f"{OBJECTS}/{item.name}.png", objects)
        self._list.add(f"{item.name}\n")

    def finish(self) -> None:
        """See `Format`."""
        write_pieces(self.place.path(LIST), self._list)
        colours = voc_colours().tolist()
        names = map_names(self.settings.names)
        lines = [f"{name}:{r},{g},{b}::\n" for name, (r, g, b) in zip(names, colours, strict=False)]
        self.place.write(LABEL_MAP, "".join(lines).encode())
        self.place.write(NAMES, class_list(self.settings.names).encode())

    def _write(self, name: str, values: np.ndarray) -> None:
        image = Image.fromarray(values)
        image.putpalette(voc_colours().tobytes())
        self.place.write(name, encode_png(image))
