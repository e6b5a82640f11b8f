"""GeoTIFF: label maps that lie where their photos do."""

from __future__ import annotations

from recoseg.classes import class_list
from recoseg.formats.photo_files import PhotoFile
from recoseg.formats.protocol import RASTERIO, Format, Labelled
from recoseg.labels import WIDE_IGNORE_INDEX
from recoseg.rasters.boxes import Box
from recoseg.rasters.label_files import write_label_raster

CLASSES = "classes.txt"


class GeoTiff(Format):
    """A GeoTIFF of labels for each photo, with its coordinate reference system and transform."""

    needs = (RASTERIO,)
    most_classes = WIDE_IGNORE_INDEX
    any_size = True

    def add(self, item: Labelled, photo: PhotoFile) -> None:
        """See `Format`."""
        whole = Box(0, 0, *item.size)
        write_label_raster(
            self.place.path(f"{item.name}.tif"),
            item.size,
            self.settings.names,
            self.settings.palette,
            item.georeference,
            [(whole, item.labels)],
        )

    def finish(self) -> None:
        """See `Format`."""
        self.place.write(CLASSES, class_list(self.settings.names).encode())
