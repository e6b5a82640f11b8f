"""CVAT's XML for images, version 1.1."""

from __future__ import annotations

from xml.etree import ElementTree as Xml

import numpy as np

from recoseg.drawing.palette import hex_colour
from recoseg.formats.photo_files import PhotoFile
from recoseg.formats.place import Place, write_pieces
from recoseg.formats.protocol import Format, FormatSettings, Labelled
from recoseg.formats.regions import Region

FILE = "annotations.xml"


class Cvat(Format):
    """An exact mask, or a polygon with a bridge to each hole, for each region."""

    def __init__(self, place: Place, settings: FormatSettings) -> None:
        super().__init__(place, settings)
        self._images = place.spool("images")

    def add(self, item: Labelled, photo: PhotoFile) -> None:
        """See `Format`."""
        height, width = item.size
        image = Xml.Element(
            "image",
            {
                "id": str(item.number - 1),
                "name": photo.named(item.name),
                "width": str(width),
                "height": str(height),
            },
        )
        for region in item.regions:
            common = {"label": self.settings.names[region.label], "source": "auto"}
            common |= {"occluded": "0", "z_order": "0"}
            if self.settings.polygons:
                points = ";".join(f"{x:.10g},{y:.10g}" for x, y in item.ring(region))
                Xml.SubElement(image, "polygon", common | {"points": points})
            else:
                Xml.SubElement(image, "mask", common | _mask_fields(region))
        self._images.add(Xml.tostring(image, encoding="unicode") + "\n")

    def finish(self) -> None:
        """See `Format`."""
        labels = Xml.Element("labels")
        for name, colour in zip(self.settings.names, self.settings.palette, strict=True):
            label = Xml.SubElement(labels, "label")
            Xml.SubElement(label, "name").text = name
            Xml.SubElement(label, "color").text = hex_colour(colour)
            Xml.SubElement(label, "attributes")
        head = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n<version>1.1</version>\n'
        meta = f"<meta><task>{Xml.tostring(labels, encoding='unicode')}</task></meta>\n"
        write_pieces(self.place.path(FILE), head, meta, self._images, "</annotations>\n")


def _mask_fields(region: Region) -> dict[str, str]:
    """Lengths of runs of 0s and 1s in turn, row by row within the box, 0s first; and the box."""
    left, top, width, height = region.box
    values = region.mask.ravel()
    stops = [*(np.flatnonzero(values[1:] != values[:-1]) + 1).tolist(), values.size]
    runs = np.diff([0, *([0] if values[0] else []), *stops])
    return {
        "rle": ", ".join(map(str, runs.tolist())),
        "left": str(left),
        "top": str(top),
        "width": str(width),
        "height": str(height),
    }
