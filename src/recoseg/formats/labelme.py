"""LabelMe's JSON files, each beside its photo; X-AnyLabeling reads them, too."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Literal

from recoseg.formats.photo_files import PhotoFile
from recoseg.formats.protocol import SHAPELY, Format, Labelled

_VERSION = "5.5.0"
"""The version of LabelMe whose format is written."""


class LabelMe(Format):
    """A polygon for each connected part of a region; those of one instance have the same group.

    A hole is joined to the outline by a bridge. Outlines run through the centres of the outermost
    pixels, so that drawing them paints the pixels of the region.
    """

    photos: ClassVar[Literal["copy", "none", "embed"]] = "copy"
    needs = (SHAPELY,)
    photos_in = ""

    def add(self, item: Labelled, photo: PhotoFile) -> None:
        """See `Format`."""
        height, width = item.size
        shapes = [
            {
                "label": self.settings.names[region.label],
                "points": ring.round(3).tolist(),
                "group_id": number if len(region.numbers) > 1 else None,
                "description": "",
                "shape_type": "polygon",
                "flags": {},
                "mask": None,
            }
            for number, region in enumerate(item.regions, start=1)
            for ring in item.rings(region, inside=True)
        ]
        fields: dict[str, Any] = {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": photo.named(item.name).rpartition("/")[2],
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        text = json.dumps(fields, ensure_ascii=False, indent=1)
        self.place.write(f"{item.name}.json", text.encode())

    def finish(self) -> None:
        """See `Format`; the list of classes serves as `--labels` of LabelMe."""
        self.place.write("labels.txt", "".join(f"{n}\n" for n in self.settings.names).encode())
