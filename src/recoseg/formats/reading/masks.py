"""Masks in the format of another tool, each of which is read when it is needed."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, UInt

from recoseg.errors import BadImageError, DatasetError, FileError
from recoseg.labels import ignore_index, label_dtype
from recoseg.photos.refs import composed
from recoseg.storage.reading import read_text, why

MAX_FILE = 1 << 33
"""Maximum size of a file about all photos, bytes (8 GiB)."""

_MOST_PIXELS = 1 << 30

Placed = tuple[Bool[np.ndarray, "height width"], int, int]
"""Pixels within a box, and the left and top side of the box."""

WRONG = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError)
"""What reading raises where a file has other fields than expected."""


@dataclass(frozen=True, eq=False)
class FormatMasks:
    """The masks of many photos.

    Attributes:
        form: Name of the format.
        location: The file or folder.
        names: The class of each label.
        read: From the name of a photo (without suffix) to what reads its label map, which raises
            BadImageError; labels are uint8, or uint16 for more than 255 classes.
        photos: The folder in which the format has its photos.
    """

    form: str
    location: Path
    names: tuple[str, ...]
    read: Mapping[str, Callable[[], UInt[np.ndarray, "h w"]]]
    photos: Path

    def find(self, name: str) -> str | None:
        """The name of a photo among these: the same, or one with more or fewer folders before it.

        Args:
            name: A name without suffix, with `/` between folders.

        Returns:
            The name here; None if there is none, or if several have the same last part.
        """
        own = composed(name)
        if own in self._composed:
            return self._composed[own]
        other = self._leaves.get(own.rpartition("/")[2])
        if other is None:
            return None
        short, long = sorted((own, composed(other)), key=len)
        return other if long.endswith(f"/{short}") else None

    @cached_property
    def _composed(self) -> dict[str, str]:
        return {composed(name): name for name in self.read}

    @cached_property
    def _leaves(self) -> dict[str, str | None]:
        found: dict[str, str | None] = {}
        for name in self.read:
            leaf = composed(name).rpartition("/")[2]
            found[leaf] = None if leaf in found else name
        return found


def without_suffix(name: str) -> str:
    """The name of a photo's file without suffix, with `/` between folders.

    Example:
        >>> without_suffix("a.b/c.d.jpg")
        'a.b/c.d'
    """
    folder, mark, leaf = name.replace("\\", "/").rpartition("/")
    return f"{folder}{mark}{leaf.rpartition('.')[0] or leaf}"


def canvas(height: int, width: int, classes: int) -> UInt[np.ndarray, "h w"]:
    """A label map of background alone.

    Raises:
        ValueError: The size is not that of a photo.
    """
    if not (height > 0 and width > 0 and height * width <= _MOST_PIXELS):
        raise ValueError(f"{height} x {width} pixels are not the size of a photo")
    ignored = ignore_index(classes)
    return np.full((height, width), ignored, label_dtype(ignored))


def paint(labels: UInt[np.ndarray, "h w"], label: int, placed: Placed) -> None:
    """Give pixels a label; what lies outside of the photo is cut off.

    Args:
        labels: The label map, which is changed.
        label: The label.
        placed: The pixels.
    """
    mask, left, top = placed
    mask, left, top = mask[max(0, -top) :, max(0, -left) :], max(0, left), max(0, top)
    part = labels[top : top + mask.shape[0], left : left + mask.shape[1]]
    part[mask[: part.shape[0], : part.shape[1]]] = label


def numbered(names: Iterable[str], where: Path) -> dict[str, int]:
    """The label of each class.

    Raises:
        DatasetError: There are none, or two have the same name.
    """
    listed = list(names)
    found = {name: label for label, name in enumerate(listed)}
    if not found:
        raise DatasetError(f"{where} has no classes.")
    if len(found) < len(listed):
        twice = next(name for name in listed if listed.count(name) > 1)
        raise DatasetError(f"{where} has two classes with the name {twice!r}. Rename one.")
    return found


@contextlib.contextmanager
def understood(where: Path, form: str) -> Iterator[None]:
    """Turn what reading raises where fields are not as expected into one line for the user.

    Raises:
        DatasetError: Fields are missing or of another type.
    """
    try:
        yield
    except WRONG as error:
        what = f"no field {error}" if isinstance(error, KeyError) else why(error)
        raise DatasetError(
            f"{where} is not as the format {form} has it: {what}. Export it again."
        ) from error


@contextlib.contextmanager
def of_photo(form: str) -> Iterator[None]:
    """The same for the mask of one photo.

    Raises:
        BadImageError: The mask is damaged; the text is the reason.
    """
    try:
        yield
    except FileError as error:
        raise BadImageError(str(error).rstrip(".")) from error
    except WRONG as error:
        what = f"no field {error}" if isinstance(error, KeyError) else why(error)
        raise BadImageError(f"its mask in the format {form} is damaged: {what}") from error


def read_fields(path: Path) -> Any:
    """The content of a JSON file.

    Raises:
        DatasetError: It is missing, cannot be read, or is no JSON.
    """
    try:
        return json.loads(read_text(path, MAX_FILE))
    except FileError as error:
        raise DatasetError(str(error)) from error
    except (ValueError, RecursionError) as error:
        raise DatasetError(f"{path} is no JSON file, or is damaged: {why(error)}.") from error
