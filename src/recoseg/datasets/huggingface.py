"""Data sets of Hugging Face `datasets` with a column of photos and a column of masks."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from PIL import Image

from recoseg.datasets.label_space import LabelSpace
from recoseg.datasets.masks import MaskCode, counted, decode_values, one_channel, to_labels
from recoseg.datasets.sample import Sample, SegmentationDataset
from recoseg.errors import BadImageError, DatasetError
from recoseg.photos.images import decode_image, upright_rgb, upright_size
from recoseg.photos.reading import read_photo
from recoseg.photos.refs import Photo
from recoseg.storage.reading import why


def from_huggingface(
    dataset: Any,
    space: LabelSpace,
    image_column: str = "image",
    mask_column: str = "mask",
    *,
    zero_is_void: bool = False,
    code: MaskCode | None = None,
    name: str = "huggingface",
    split: str = "all",
) -> SegmentationDataset:
    """A `datasets.Dataset` as labelled photos; rows are read when asked for.

    Args:
        dataset: Rows with a photo and a mask. A mask is an image or a (h, w) array.
        space: The label space; masks contain labels of its scored classes, and 255.
        image_column: Name of the column of photos.
        mask_column: Name of the column of masks.
        zero_is_void: Whether 0 is not a class and the classes count from 1.
        code: What the values of masks mean, if it is neither of both.
        name: Name of the data set.
        split: Split of the data set.

    Returns:
        Samples named after their row, with leading zeros.

    Raises:
        DatasetError: A column is missing, or the data set is not a single split on this machine.
    """
    if isinstance(dataset, Mapping) or not hasattr(dataset, "select_columns"):
        raise DatasetError(
            f"Expected one split of a data set; got {type(dataset).__name__}. "
            "Choose one, such as dataset['validation']."
        )
    if not hasattr(dataset, "__len__"):
        raise DatasetError("The data set is streamed; load it with streaming=False.")
    absent = [item for item in (image_column, mask_column) if item not in dataset.column_names]
    if absent:
        raise DatasetError(
            f"{name}: no column {' or '.join(absent)}. It has {', '.join(dataset.column_names)}; "
            "name the columns of photos and masks."
        )
    photos, masks = _column(dataset, image_column), _column(dataset, mask_column)
    if code is None:
        code = counted(len(space.scored), start=int(zero_is_void))
    samples = tuple(
        Sample(
            f"{row:06d}",
            partial(_read_photo, photos, image_column, row),
            partial(_read_target, photos, masks, (image_column, mask_column), code, row),
            partial(str, getattr(dataset, "_fingerprint", "")),
        )
        for row in range(len(dataset))
    )
    return SegmentationDataset(name, split, space, samples)


def _column(dataset: Any, column: str) -> Any:
    """One column; of images the bytes."""
    from datasets import Image as ImageFeature

    alone = dataset.select_columns([column])
    if isinstance(dataset.features[column], ImageFeature):
        return alone.cast_column(column, ImageFeature(decode=False))
    return alone


def _value(rows: Any, column: str, row: int) -> Any:
    """An image's bytes, or any other value as it is.

    Raises:
        BadImageError: The row cannot be read, or its image has neither bytes nor a path.
    """
    try:
        value = rows[row][column]
    except Exception as error:  # damaged files, and values that are not of the column's type
        raise BadImageError(f"its row cannot be read: {why(error)}") from error
    if not isinstance(value, dict) or "path" not in value:
        return value
    if value.get("bytes") is not None:
        return value["bytes"]
    if not isinstance(value["path"], str):
        return None
    return read_photo(Photo(value["path"]))


def _read_photo(rows: Any, column: str, row: int) -> Image.Image:
    value = _value(rows, column, row)
    if isinstance(value, bytes):
        return decode_image(value)
    return upright_rgb(Image.fromarray(_pixels(value)))


def _array(value: Any) -> np.ndarray:
    """Nested lists as an array.

    Raises:
        BadImageError: They are of different lengths.
    """
    try:
        return np.asarray(value)
    except ValueError as error:
        raise BadImageError("an array with rows of different lengths") from error


def _pixels(value: Any) -> np.ndarray:
    """A photo that is stored as an array: (h, w) or (h, w, c) uint8."""
    pixels = _array(value)
    if value is None or not np.issubdtype(pixels.dtype, np.number):
        raise BadImageError("it has no photo")
    fits = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (2, 3, 4))
    if not fits or not pixels.size or not (pixels.min() >= 0 and pixels.max() <= 255):
        raise BadImageError(f"an array of shape {pixels.shape} is not an 8-bit photo")
    return pixels.astype(np.uint8)


def _read_target(
    photos: Any, masks: Any, columns: tuple[str, str], code: MaskCode, row: int
) -> np.ndarray:
    photo, mask = _value(photos, columns[0], row), _value(masks, columns[1], row)
    if mask is None:
        raise BadImageError("it has no mask")
    if isinstance(mask, bytes):
        values = decode_values(mask, code.channel)
    else:
        values = one_channel(_array(mask), code.channel)
    size = upright_size(photo) if isinstance(photo, bytes) else _pixels(photo).shape[:2]
    return to_labels(values, code, size)
