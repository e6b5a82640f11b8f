"""GeoTIFF and GeoPackage as `recoseg convert` writes them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt

from recoseg.errors import BadImageError, DatasetError, FileError, MissingExtraError
from recoseg.formats.geopackage import LAYER, METADATA
from recoseg.formats.reading.masks import (
    MAX_FILE,
    WRONG,
    FormatMasks,
    canvas,
    numbered,
    of_photo,
    understood,
    without_suffix,
)
from recoseg.rasters.label_files import CLASSES_TAG, RASTER, read_label_raster
from recoseg.rasters.opening import has_rasterio, open_raster, rasterio_package
from recoseg.storage.reading import read_bytes

_FORM = "gpkg"


def listed_in(file: Path) -> tuple[str, ...]:
    """The classes that a GeoTIFF lists; none if it is another file or rasterio is not installed."""
    if not has_rasterio():
        return ()
    try:
        with open_raster(file) as raster:
            return tuple(json.loads(raster.tags()[CLASSES_TAG]))
    except (BadImageError, *WRONG):
        return ()


def read_geotiffs(path: Path, root: Path) -> FormatMasks:
    """A GeoTIFF of labels for each photo, which lists the classes.

    Args:
        path: The folder of the files.
        root: The same.

    Raises:
        DatasetError: No file lists classes, or they have different ones.
    """
    files = sorted(path.rglob(f"*{RASTER}"))
    names = _common((file, names) for file in files if (names := listed_in(file)))
    numbered(names, path)
    read = {_name(file, path): partial(_raster, file, len(names)) for file in files}
    return FormatMasks("geotiff", path, names, read, root)


def _raster(file: Path, classes: int) -> UInt[np.ndarray, "h w"]:
    with of_photo("geotiff"):
        try:
            values = read_label_raster(file)
        except BadImageError as error:
            raise BadImageError(f"{file} is damaged or no GeoTIFF of labels: {error}") from error
        height, width = values.shape
        labels = canvas(height, width, classes)
        if ((values >= classes) & (values != labels[0, 0])).any():
            raise ValueError("values that are no classes")
        return values.astype(labels.dtype)


def _name(file: Path, folder: Path) -> str:
    return without_suffix(file.relative_to(folder).as_posix())


def _common(found: Iterable[tuple[Path, tuple[str, ...]]]) -> tuple[str, ...]:
    """The classes of all files.

    Raises:
        DatasetError: Two files have different ones.
    """
    common: tuple[str, ...] = ()
    for file, names in found:
        if common and names != common:
            raise DatasetError(
                f"{file} has other classes than the files before it. Expected one list of classes "
                "for all photos: convert all of them in one run."
            )
        common = names
    return common


def read_geopackages(path: Path, root: Path) -> FormatMasks:
    """A GeoPackage for each photo; its layer tells the classes and the size of the photo.

    Args:
        path: The folder of the files.
        root: The same.

    Raises:
        DatasetError: A file is not as expected, or they have different classes.
        MissingExtraError: The extra `geo` is not installed.
    """
    files = sorted(path.rglob("*.gpkg"))
    names = _common(_classes_of(files))
    numbered(names, path)
    read = {_name(file, path): partial(_painted, file, names) for file in files}
    return FormatMasks(_FORM, path, names, read, root)


def _classes_of(files: Iterable[Path]) -> Iterator[tuple[Path, tuple[str, ...]]]:
    for file in files:
        try:
            with understood(file, _FORM):
                yield file, tuple(_metadata(file, read_bytes(file, MAX_FILE))[0])
        except (BadImageError, FileError):
            continue  # told when it is read


def _painted(file: Path, names: Sequence[str]) -> UInt[np.ndarray, "h w"]:
    pyogrio = _pyogrio()
    import shapely
    from affine import Affine
    from rasterio.features import rasterize

    with of_photo(_FORM):
        data = read_bytes(file, MAX_FILE)
        _, (height, width), affine = _metadata(file, data)
        labels = canvas(height, width, len(names))
        try:
            _, _, outlines, (numbers,) = pyogrio.raw.read(data, layer=LAYER, columns=["label"])
        except pyogrio.errors.DataSourceError as error:
            raise BadImageError(f"{file} is damaged: {error}") from error
        if len(outlines):
            if not 0 <= numbers.min() <= numbers.max() < len(names):
                raise ValueError("labels that are no classes")
            shapes = zip(shapely.from_wkb(outlines), numbers.tolist(), strict=True)
            rasterize(shapes, out=labels, transform=Affine(*affine))
        return labels


def _metadata(file: Path, data: bytes) -> tuple[list[str], list[int], list[float]]:
    """The classes, the size, and the affine map; see `METADATA`.

    The content is given, since pyogrio takes names with some characters, such as `;`, apart.

    Raises:
        BadImageError: The file cannot be read.
        ValueError: They are absent or not as expected.
    """
    pyogrio = _pyogrio()
    try:
        found: dict[str, Any] = pyogrio.read_info(data, layer=LAYER)["layer_metadata"] or {}
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise BadImageError(f"{file} is damaged, or has no layer {LAYER!r}: {error}") from error
    if any(name not in found for name in METADATA):
        raise ValueError(f"its layer lacks the metadata {', '.join(METADATA)}")
    names, size, affine = (json.loads(found[name]) for name in METADATA)
    return [str(name) for name in names], [int(side) for side in size], [*map(float, affine)]


def _pyogrio() -> Any:
    try:
        import pyogrio
        import shapely  # noqa: F401 - needed next

        rasterio_package()
    except ImportError as error:
        raise MissingExtraError(error.name or "pyogrio", "geo", "Reading GeoPackages") from error
    return pyogrio
