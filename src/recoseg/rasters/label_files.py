"""Label maps as GeoTIFF: tiled, compressed, with the colours and names of the classes."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt

from recoseg.errors import BadImageError
from recoseg.labels import IGNORE_INDEX, Colour, ignore_index, label_dtype
from recoseg.rasters.boxes import ALIGNED, Box
from recoseg.rasters.georeference import Georeference
from recoseg.rasters.opening import open_raster, rasterio_package, reasons
from recoseg.storage.atomic import TEMPORARY, flush_folder

RASTER = ".tif"
"""Ending of the names of label maps of rasters."""

CLASSES_TAG = "CLASSES"
"""The tag with the names of the classes in the order of their labels, as a JSON list."""

_LEAST_OVERVIEW = 512
"""Files get smaller versions of themselves, each half as large, until both sides are shorter."""

_CACHE = 64_000_000
"""Bytes of blocks that GDAL keeps before it writes them."""


@contextmanager
def written_beside(path: Path) -> Iterator[Path]:
    """A temporary file that takes the place of another when it is complete.

    It is for libraries that write files by their names; see `write_atomically` for others.

    Args:
        path: The file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(6)}{path.suffix}")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    flush_folder(path.parent)


def write_label_raster(
    path: Path,
    size: tuple[int, int],
    names: Sequence[str],
    palette: Sequence[Colour],
    georeference: Georeference,
    parts: Iterable[tuple[Box, UInt[np.ndarray, "h w"]]],
) -> None:
    """Write a label map as GeoTIFF; the file is whole or absent.

    It has tiles of 512 pixels, compressed by deflate, the colours of the classes as its palette (up
    to 255 classes), background as its value without data, overviews, and the names of the classes
    in the tag `CLASSES` and, by label, in those of its band.

    Args:
        path: The file.
        size: Height and width, pixels.
        names: The class of each label.
        palette: RGB of each class.
        georeference: Where its pixels lie.
        parts: The labels, part by part; see `tiles_over`.
    """
    rasterio = rasterio_package()
    ignored = ignore_index(len(names))
    profile: dict[str, Any] = {
        "driver": "GTiff",
        "height": size[0],
        "width": size[1],
        "count": 1,
        "dtype": np.dtype(label_dtype(ignored)).name,
        "nodata": ignored,
        "tiled": True,
        "blockxsize": ALIGNED,
        "blockysize": ALIGNED,
        "compress": "deflate",
        "bigtiff": "if_safer",
        **georeference.to_profile(),
    }
    options = rasterio.Env(COMPRESS_OVERVIEW="DEFLATE", GDAL_CACHEMAX=_CACHE)
    with written_beside(path) as temporary, options:
        with rasterio.open(temporary, "w", **profile) as file:
            if ignored == IGNORE_INDEX:
                white = (255, 255, 255, 255)
                file.write_colormap(1, {**dict(enumerate(palette)), ignored: white})
            file.update_tags(**{CLASSES_TAG: json.dumps(list(names), ensure_ascii=False)})
            file.update_tags(1, **{f"CLASS_{label}": name for label, name in enumerate(names)})
            for box, labels in parts:
                window = rasterio.windows.Window(box.left, box.top, box.width, box.height)
                file.write(labels, 1, window=window)
        factors = _overviews(size)
        if factors:
            with rasterio.open(temporary, "r+") as file:
                file.build_overviews(factors, rasterio.enums.Resampling.nearest)


def _overviews(size: tuple[int, int]) -> list[int]:
    """How many times smaller each overview is.

    Example:
        >>> _overviews((20000, 30000))
        [2, 4, 8, 16, 32, 64]
    """
    factors, factor = [], 2
    while max(size) * 2 > _LEAST_OVERVIEW * factor:
        factors.append(factor)
        factor *= 2
    return factors


def read_label_raster(path: Path, out_hw: tuple[int, int] | None = None) -> UInt[np.ndarray, "h w"]:
    """Read a label map that `write_label_raster` wrote.

    Args:
        path: The file.
        out_hw: Size to which it is reduced, by the nearest labels; by default its own.

    Raises:
        BadImageError: It is damaged, or is no such file.
    """
    with open_raster(path) as raster, reasons():
        if raster.count != 1 or raster.dtypes[0] not in ("uint8", "uint16"):
            raise BadImageError("is not a file of labels; expected one band of 8 or 16 bits")
        labels: np.ndarray = raster.read(1, out_shape=out_hw)
        return labels


def label_blocks(path: Path) -> Iterator[UInt[np.ndarray, "h w"]]:
    """The labels of a file, block by block.

    Raises:
        BadImageError: It is damaged.
    """
    with open_raster(path) as raster, reasons():
        for _, window in raster.block_windows(1):
            yield raster.read(1, window=window)
