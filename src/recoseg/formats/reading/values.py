"""Formats whose masks are pictures: Pascal VOC, and the rows of Hugging Face's `datasets`."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt

from recoseg.classes import read_classes
from recoseg.errors import BadImageError, DatasetError, FileError
from recoseg.formats.reading.masks import FormatMasks, canvas, numbered, of_photo, understood
from recoseg.formats.voc import CLASSES, LABEL_MAP, LIST, NAMES
from recoseg.photos import files
from recoseg.photos.opening import open_image
from recoseg.photos.stored import stored_values
from recoseg.storage.paths import inside
from recoseg.storage.reading import read_bytes, read_lines

_BACKGROUND = "background"


def read_values(folder: Path, name: str) -> np.ndarray:
    """The numbers of a PNG file.

    Raises:
        BadImageError: It is missing or damaged.
        FileError: Its name leaves the folder.
    """
    return _decoded(read_bytes(inside(folder, name), files.MAX_BYTES))


def read_voc(path: Path, root: Path) -> FormatMasks:
    """Masks of Pascal VOC: value 0 is background, and 255 is none of the classes.

    The names are those of `classes.txt`, which recoseg writes beside `labelmap.txt`; else those of
    the latter, whose first line is background.

    Args:
        path: The folder with `SegmentationClass`.
        root: The same.

    Raises:
        DatasetError: There is no list of classes or photos.
    """
    lists = sorted((path / LIST).parent.glob("*.txt"))
    try:
        if (path / NAMES).is_file():
            names = [words.name for words in read_classes(path / NAMES)]
        else:
            lines = [line for line in read_lines(path / LABEL_MAP) if line.strip()]
            listed = [line.split(":")[0] for line in lines if not line.startswith("#")]
            names = [name for name in listed if name != _BACKGROUND]
        photos = [line.strip(" \t") for file in lists for line in read_lines(file)]
    except FileError as error:
        raise DatasetError(f"{path} is not as the format voc has it: {error}") from error
    classes = len(numbered(names, path))
    read = {name: partial(_voc, path / CLASSES, name, classes) for name in photos if name}
    return FormatMasks("voc", path, tuple(names), read, root / "JPEGImages")


def _voc(folder: Path, name: str, classes: int) -> UInt[np.ndarray, "h w"]:
    with of_photo("voc"):
        values = read_values(folder, f"{name}.png")
        if values.ndim != 2:
            raise ValueError("it is a picture in colour; expected a palette")
        ignored = canvas(1, 1, classes)[0, 0]
        table = np.full(256, ignored, ignored.dtype)
        table[1 : classes + 1] = np.arange(classes)
        wrong = np.setdiff1d(values, [*range(classes + 1), 255])
        if wrong.size:
            raise ValueError(f"the values {wrong[:5].tolist()} are no classes")
        return table[values]


def read_huggingface(path: Path, root: Path) -> FormatMasks:
    """Parquet files with `mask` and `name`, and the names of the classes of the column `classes`.

    Args:
        path: The folder with `data`.
        root: The same.

    Raises:
        DatasetError: The files are not as expected.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    names: tuple[str, ...] = ()
    read: dict[str, Callable[[], UInt[np.ndarray, "h w"]]] = {}
    try:
        with understood(path, "huggingface"):
            for file in sorted((path / "data").glob("*.parquet")):
                table = pq.ParquetFile(file)
                features = json.loads(table.schema_arrow.metadata[b"huggingface"])["info"]
                names = tuple(_class_names(features["features"]["classes"]))
                for group in range(table.num_row_groups):
                    rows = table.read_row_group(group, columns=["name"])["name"].to_pylist()
                    for row, name in enumerate(rows):
                        read[str(name)] = partial(_row, file, group, row, len(names))
            numbered(names, path)
    except (pa.ArrowException, OSError) as error:
        raise DatasetError(f"{path} cannot be read as parquet files: {error}") from error
    return FormatMasks("huggingface", path, names, read, root / "images")


def _class_names(feature: Any) -> list[str]:
    """The names of a feature of class labels, or of a list of them, in any version's form."""
    inner = feature.get("feature", feature)
    return list(inner["names"])


def _row(file: Path, group: int, row: int, classes: int) -> UInt[np.ndarray, "h w"]:
    import pyarrow as pa

    with of_photo("huggingface"):
        try:
            values = _decoded(_masks(file, group)[row]["bytes"])
        except (pa.ArrowException, OSError) as error:
            raise BadImageError(f"{file} is damaged: {error}") from error
        height, width = values.shape
        labels = canvas(height, width, classes)
        if np.setdiff1d(values, [*range(classes), labels[0, 0]]).size:
            raise ValueError("values that are no classes")
        return values.astype(labels.dtype)


@lru_cache(maxsize=2)
def _masks(file: Path, group: int) -> list[Any]:
    """The files of the masks in a row group; photos are mostly read in their order."""
    import pyarrow.parquet as pq

    table = pq.ParquetFile(file).read_row_group(group, columns=["mask"])
    found: list[Any] = table["mask"].to_pylist()
    return found


def _decoded(data: bytes) -> np.ndarray:
    try:
        with open_image(data, ("PNG",)) as image:
            return stored_values(image)
    except BadImageError:
        raise
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise BadImageError("its mask is no PNG file, or is damaged") from error
