"""YOLO's segmentation data sets: a text file of outlines for each photo, and `data.yaml`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import numpy as np

from recoseg.errors import MissingExtraError
from recoseg.formats.place import Place
from recoseg.formats.photo_files import PhotoFile
from recoseg.formats.protocol import Format, FormatSettings, Labelled

FILE = "data.yaml"
_SPLIT = "train"


class Yolo(Format):
    """One line for each connected region: its class, and its outline as fractions of the sides.

    A hole is joined to the outline by a bridge. Outlines run through the centres of the outermost
    pixels, so that drawing them paints the pixels of the region.
    """

    photos: ClassVar[Literal["copy", "none", "embed"]] = "copy"
    photos_in = f"images/{_SPLIT}/"

    def __init__(self, place: Place, settings: FormatSettings) -> None:
        super().__init__(place, settings)
        _yaml()

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
        fields = {
            "train": self.photos_in.rstrip("/"),
            "val": self.photos_in.rstrip("/"),
            "names": dict(enumerate(self.settings.names)),
        }
        text = _yaml().safe_dump(fields, allow_unicode=True, sort_keys=False)
        self.place.write(FILE, text.encode())


def _yaml() -> Any:
    try:
        import yaml
    except ImportError as error:
        raise MissingExtraError("pyyaml", "formats", "YOLO's data.yaml") from error
    return yaml
