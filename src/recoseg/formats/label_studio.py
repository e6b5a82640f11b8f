"""Label Studio's tasks with predictions, and the labelling interface for them."""

from __future__ import annotations

from typing import Any, ClassVar, Literal
from urllib.parse import quote
from xml.etree import ElementTree as Xml

from recoseg.drawing.palette import hex_colour
from recoseg.formats.photo_files import PhotoFile
from recoseg.formats.place import Place, write_pieces
from recoseg.formats.protocol import Format, FormatSettings, Labelled
from recoseg.formats.regions import Region
from recoseg.formats.rle_pack import encode_brush

FILE = "tasks.json"
INTERFACE = "labeling_config.xml"
_LOCAL = "/data/local-files/?d="


class LabelStudio(Format):
    """A task for each photo, whose prediction has a brush for each class.

    With polygons it has a polygon for each region instead, with a bridge to each hole.
    The address of a photo is that of Label Studio's local files, relative to the format's folder.
    """

    photos: ClassVar[Literal["copy", "none", "embed"]] = "copy"

    def __init__(self, place: Place, settings: FormatSettings) -> None:
        super().__init__(place, settings)
        self._tasks = place.spool("tasks")

    def add(self, item: Labelled, photo: PhotoFile) -> None:
        """See `Format`."""
        height, width = item.size
        folder = self.photos_in if photo.data is not None else ""
        self._tasks.add_json(
            {
                "id": item.number,
                "data": {
                    "image": _LOCAL + quote(f"{folder}{photo.named(item.name)}"),
                    "width": width,
                    "height": height,
                },
                "predictions": [{"model_version": "recoseg", "result": results_of(item)}],
            }
        )

    def finish(self) -> None:
        """See `Format`."""
        write_pieces(self.place.path(FILE), "[\n", self._tasks, "\n]\n")
        view = Xml.Element("View")
        Xml.SubElement(view, "Image", name="image", value="$image", zoom="true")
        kind = "PolygonLabels" if self.settings.polygons else "BrushLabels"
        labels = Xml.SubElement(view, kind, name="label", toName="image")
        for name, colour in zip(self.settings.names, self.settings.palette, strict=True):
            Xml.SubElement(labels, "Label", value=name, background=hex_colour(colour))
        Xml.indent(view)
        self.place.write(INTERFACE, Xml.tostring(view, encoding="utf-8") + b"\n")


def results_of(
    item: Labelled, from_name: str = "label", to_name: str = "image"
) -> list[dict[str, Any]]:
    """The results of a photo: a brush for each class, or a polygon for each region.

    Args:
        item: The photo, whose settings decide between brushes and polygons.
        from_name: The name of the brushes or polygons in the labelling interface.
        to_name: The name of the image there.
    """
    height, width = item.size
    settings = item.settings
    kind = "polygonlabels" if settings.polygons else "brushlabels"
    return [
        {
            "id": f"{item.number}-{count}",
            "type": kind,
            "from_name": from_name,
            "to_name": to_name,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": {**_shape(item, region), kind: [settings.names[region.label]]},
        }
        for count, region in enumerate(item.regions if settings.polygons else item.classes, start=1)
    ]


def _shape(item: Labelled, region: Region) -> dict[str, Any]:
    if not item.settings.polygons:
        return {"format": "rle", "rle": encode_brush(region.whole(*item.size))}
    height, width = item.size
    percent = item.ring(region) * 100 / (width, height)
    return {"points": percent.tolist(), "closed": True}
