"""Opening rasters by rasterio, within bounds."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recoseg.errors import BadImageError, MissingExtraError
from recoseg.photos.raw import TIFF_STARTS
from recoseg.storage.reading import open_regular, why

if TYPE_CHECKING:
    from rasterio.io import DatasetReader

DRIVERS: dict[bytes, str] = {
    **dict.fromkeys(TIFF_STARTS, "GTiff"),
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JP2OpenJPEG",
    b"\xff\x4f\xff\x51": "JP2OpenJPEG",
}
"""The formats that are read by windows, as GDAL calls them, by the beginning of their files.
Formats that name other files or addresses, such as VRT, are not among them."""

SUFFIXES = (".tif", ".tiff", ".jp2", ".jpg", ".jpeg", ".jpe", ".jfif", ".png")
"""Endings of the names of their files."""

MAX_BLOCK = 1_000_000_000
"""Largest block that a file may be stored in, bytes: it is decoded as a whole."""

_CACHE = 128_000_000
"""Bytes of decoded blocks that GDAL keeps, for windows that overlap."""

_UPRIGHT = ("", "0", "1")  # values of EXIF's orientation


def has_rasterio() -> bool:
    """Whether the package that reads rasters is installed."""
    return find_spec("rasterio") is not None


def rasterio_package() -> Any:
    """The package that reads rasters.

    Raises:
        MissingExtraError: It is not installed.
    """
    try:
        import rasterio
    except ImportError as error:
        raise MissingExtraError("rasterio", "geo", "Reading and writing rasters") from error
    # Photos lie nowhere on the earth; several threads may read them, so this is for the process.
    warnings.filterwarnings("ignore", category=rasterio.errors.NotGeoreferencedWarning)
    # GDAL's messages come as exceptions, too, and damaged files would fill the terminal with them.
    logging.getLogger("rasterio").setLevel(logging.CRITICAL)
    return rasterio


@contextmanager
def reasons(failed: str = "cannot be read by windows") -> Iterator[None]:
    """Turn the errors of rasterio into a `BadImageError` with the reason.

    Args:
        failed: What an error means, as the beginning of the message.
    """
    from rasterio.errors import RasterioError

    try:
        yield
    except RasterioError as error:
        cause = error.__cause__ or error
        reason = " ".join(str(cause).split()) or type(cause).__name__
        raise BadImageError(f"{failed}: {reason[:300]}") from error


@contextmanager
def open_raster(path: Path) -> Iterator[DatasetReader]:
    """Open a raster to read windows of it.

    Args:
        path: A local file.

    Raises:
        MissingExtraError: rasterio is not installed.
        BadImageError: The file is not a raster of one of the `DRIVERS`, is stored in blocks that
            are too large, or has values that are no colours; the message is the reason.
    """
    rasterio = rasterio_package()
    driver = _driver(path)
    options = rasterio.Env(GDAL_CACHEMAX=_CACHE, GDAL_PAM_ENABLED=True)
    with reasons(), options, rasterio.open(path.absolute(), driver=driver) as raster:
        _check(raster)
        yield raster


def _driver(path: Path) -> str:
    try:
        with open_regular(path) as file:
            start = file.read(16)
    except (OSError, ValueError) as error:
        raise BadImageError(f"cannot be read: {why(error)}") from error
    if not start:
        raise BadImageError("the file is empty")
    for beginning, driver in DRIVERS.items():
        if start.startswith(beginning):
            return driver
    raise BadImageError("is not read by windows; expected a file of TIFF, JPEG, PNG or JPEG 2000")


def _check(raster: DatasetReader) -> None:
    if raster.count == 0:
        raise BadImageError("holds several rasters and none itself; save one of them as GeoTIFF")
    if any("complex" in name for name in raster.dtypes):
        raise BadImageError("has complex values; save their magnitudes as GeoTIFF")
    turned = raster.tags().get("EXIF_Orientation", "").strip()
    if turned not in _UPRIGHT:
        raise BadImageError(
            f"is turned by EXIF (orientation {turned}), which reading by windows does not "
            "follow; save it upright"
        )
    rows, columns = raster.block_shapes[0]
    bands = (
        1 if raster.interleaving is None or raster.interleaving.value == "BAND" else raster.count
    )
    block = rows * columns * bands * _bytes_of(raster.dtypes[0])
    if block > MAX_BLOCK:
        raise BadImageError(
            f"is stored in blocks of {columns} x {rows} pixels, which need "
            f"{block / 1e9:.1f} GB each; save it in tiles: gdal_translate -co TILED=YES "
            "-co COMPRESS=DEFLATE"
        )


def _bytes_of(dtype: str) -> int:
    import numpy as np

    return np.dtype(dtype).itemsize
