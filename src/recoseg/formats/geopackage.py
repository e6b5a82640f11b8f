"""GeoPackage: regions as polygons that lie where their photos do, with their classes and areas."""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt

from recoseg.formats.outlines import simplified
from recoseg.formats.photo_files import PhotoFile
from recoseg.formats.protocol import PYOGRIO, RASTERIO, SHAPELY, Format, Labelled
from recoseg.labels import WIDE_IGNORE_INDEX
from recoseg.rasters.georeference import Georeference
from recoseg.rasters.label_files import written_beside

if TYPE_CHECKING:
    from shapely import Polygon

LAYER = "regions"
"""The name of the layer of polygons."""

METADATA = ("CLASSES", "SIZE", "TRANSFORM")
"""Names of the layer's metadata, each of which is JSON: the class of each label; height and width
of the photo, pixels; and the six numbers of the affine map from columns and rows to coordinates."""

EQUAL_AREA = "EPSG:6933"
"""The projection by which areas are found where coordinates are degrees; it keeps all areas."""

_AT_ONCE = 10_000  # polygons
_DATE = "1970-01-01T00:00:00.000Z"  # so that equal masks give equal files


class GeoPackage(Format):
    """A GeoPackage for each photo, with the polygon of each connected region."""

    needs = (RASTERIO, PYOGRIO, SHAPELY)
    most_classes = WIDE_IGNORE_INDEX
    any_size = True

    def add(self, item: Labelled, photo: PhotoFile) -> None:
        """See `Format`."""
        regions = (
            (label, simplified(polygon, self.settings.tolerance))
            for label, polygon in pixel_polygons(item.labels, self.settings.ignored)
            if polygon.area >= self.settings.min_area
        )
        path = self.place.path(f"{item.name}.gpkg")
        write_polygons(path, regions, self.settings.names, item.size, item.georeference)

    def finish(self) -> None:
        """See `Format`."""


def pixel_polygons(labels: UInt[np.ndarray, "h w"], ignored: int) -> Iterator[tuple[int, Polygon]]:
    """The outlines of the parts of a label map whose pixels touch by their sides.

    Args:
        labels: The label map.
        ignored: The label without polygons.

    Yields:
        The label and the exact outline of each part, with its holes; coordinates are columns and
        rows.
    """
    from rasterio.features import shapes
    from shapely.geometry import shape

    for outline, label in shapes(labels, connectivity=4):
        if label != ignored:
            yield int(label), shape(outline)


def write_polygons(
    path: Path,
    regions: Iterable[tuple[int, Polygon]],
    names: Sequence[str],
    size: tuple[int, int],
    georeference: Georeference,
) -> None:
    """Write polygons as a GeoPackage; the file is whole or absent.

    Its layer `regions` has the fields `class`, `label` and `area`: square units of the coordinate
    reference system, or square metres where these are degrees. Its metadata hold what a label map
    of the photo needs; see `METADATA`.

    Args:
        path: The file.
        regions: Label and polygon of each region; coordinates are columns and rows.
        names: The class of each label.
        size: Height and width of the photo, pixels.
        georeference: Where pixels lie.
    """
    import pyogrio
    import shapely

    crs, affine = georeference.crs, georeference.to_affine()
    metadata = dict(zip(METADATA, (list(names), list(size), list(affine)[:6]), strict=True))
    columns = np.array([[affine.a, affine.d], [affine.b, affine.e]])

    def placed(points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        return points @ columns + (affine.c, affine.f)

    with written_beside(path) as temporary, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "'crs' was not provided")  # photos lie nowhere
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _DATE})
        try:
            pending = iter(regions)
            is_first = True
            while (batch := list(itertools.islice(pending, _AT_ONCE))) or is_first:
                labels = np.array([label for label, _ in batch], np.int32)
                polygons = shapely.transform(np.array([one for _, one in batch], object), placed)
                pyogrio.raw.write(
                    temporary,
                    shapely.to_wkb(polygons),
                    [
                        np.array([names[label] for label in labels], object),
                        labels,
                        _areas(polygons, crs),
                    ],
                    ["class", "label", "area"],
                    layer=LAYER,
                    driver="GPKG",
                    geometry_type="Polygon",
                    crs=None if crs is None else crs.to_wkt(),
                    append=not is_first,
                    layer_metadata={name: json.dumps(value) for name, value in metadata.items()},
                )
                is_first = False
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def _areas(polygons: np.ndarray, crs: Any) -> Float[np.ndarray, " n"]:
    """The area of each polygon, in square metres where coordinates are degrees."""
    import shapely
    from rasterio.warp import transform

    if crs is None or not crs.is_geographic:
        return np.asarray(shapely.area(polygons), np.float64)

    def equal_area(points: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
        return np.array(transform(crs, EQUAL_AREA, *points.T)).T

    return np.asarray(shapely.area(shapely.transform(polygons, equal_area)), np.float64)
