"""YOLO's segmentation data sets: a text file of outlines for each photo, and `data.yaml`."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np

from recoseg.formats.photo_files import PhotoFile
from recoseg.formats.protocol import SHAPELY, Format, Labelled

FILE = "data.yaml"
_SPLIT = "train"


class Yolo(Format):
    """One line for each region: its class, and its outline as fractions of the sides.

    A hole is joined to the outline by a bridge, and so are the parts of an instance, as Ultralytics
    joins them: between distant parts the bridge is a line of one pixel. Outlines run through the
    centres of the outermost pixels, so that drawing them paints the pixels of the region.
    """

    photos: ClassVar[Literal["copy", "none", "embed"]] = "copy"
    needs = (SHAPELY, ("yaml", "pyyaml", "formats"))
    photos_in = f"images/{_SPLIT}/"

    def add(self, item: Labelled, photo: PhotoFile) -> None:
        """See `Format`."""
        height, width = item.size
        lines = []
        for region in item.regions:
            points = item.ring(region, inside=True) / (width, height)
            lines.append(" ".join([str(region.label), *(f"{x:.8g}" for x in np.ravel(points))]))
        # Ultralytics looks for the labels where the last folder `images` is called `labels`.
        before, _, after = f"{self.photos_in}{item.name}".rpartition("images/")
        text = "".join(f"{line}\n" for line in lines)
        self.place.write(f"{before}labels/{after}.txt", text.encode())

    def finish(self) -> None:
        """See `Format`."""
        import yaml

        fields = {
            "train": self.photos_in.rstrip("/"),
            "val": self.photos_in.rstrip("/"),
            "names": dict(enumerate(self.settings.names)),
        }
        text = yaml.safe_dump(fields, allow_unicode=True, sort_keys=False)
        self.place.write(FILE, text.encode())
