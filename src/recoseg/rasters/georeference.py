"""Where the pixels of a raster lie on the earth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoseg.errors import BadImageError
from recoseg.rasters.opening import open_raster

if TYPE_CHECKING:
    from affine import Affine
    from rasterio.control import GroundControlPoint
    from rasterio.crs import CRS
    from rasterio.io import DatasetReader


@dataclass(frozen=True)
class Georeference:
    """Where the pixels of a raster lie.

    Attributes:
        crs: The coordinate reference system; None where it is not known.
        transform: From columns and rows to coordinates; None where it is not known.
        points: Ground control points, which some rasters have in the place of a transform.
    """

    crs: CRS | None = None
    transform: Affine | None = None
    points: Sequence[GroundControlPoint] = ()

    @classmethod
    def of(cls, raster: DatasetReader) -> Georeference:
        """That of an open raster."""
        points, crs = raster.gcps
        if points:
            return cls(crs, None, tuple(points))
        transform = None if raster.transform.is_identity else raster.transform
        return cls(raster.crs, transform)

    @property
    def is_known(self) -> bool:
        """Whether anything is known."""
        return self.transform is not None or bool(self.points)

    def to_profile(self) -> dict[str, Any]:
        """The arguments with which rasterio writes it."""
        if self.points:
            return {"crs": self.crs, "gcps": list(self.points)}
        given = {"crs": self.crs, "transform": self.transform}
        return {name: value for name, value in given.items() if value is not None}

    def to_affine(self) -> Affine:
        """From columns and rows to coordinates.

        Of ground control points the best affine map is taken. Where nothing is known, coordinates
        are pixels, with y pointing up: the first row lies between 0 and -1.
        """
        from affine import Affine
        from rasterio.transform import from_gcps

        if self.transform is not None:
            return self.transform
        if self.points:
            return from_gcps(list(self.points))
        return Affine(1, 0, 0, 0, -1, 0)


def georeference_of(path: Path) -> Georeference:
    """Where the pixels of a file lie; that of other files, which are not known, is empty."""
    try:
        with open_raster(path) as raster:
            return Georeference.of(raster)
    except BadImageError:
        return Georeference()
