"""Where predicted label maps are: PNG files by name, or the format of another tool."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np

from recoseg.classes import read_classes
from recoseg.datasets.folders import FOLDER
from recoseg.datasets.masks import decode_values
from recoseg.datasets.pairs import stamp_of
from recoseg.errors import BadImageError, DatasetError, FileError
from recoseg.formats.reading.masks import FormatMasks
from recoseg.formats.reading.open_format import open_format
from recoseg.photos import files
from recoseg.photos.refs import composed
from recoseg.storage.checksums import checksum
from recoseg.storage.reading import read_bytes


class PredictionMaps(Protocol):
    """Label maps by the names of photos."""

    @property
    def location(self) -> Path:
        """The file or folder."""

    @property
    def names(self) -> tuple[str, ...]:
        """The classes that are listed with the maps; empty where none are."""

    def place(self, name: str) -> str:
        """What is said of a photo's map in messages."""

    def has(self, name: str) -> bool:
        """Whether there is a map of a photo."""

    def stamp(self, name: str) -> str:
        """What is equal for equal maps of a photo."""

    def read(self, name: str) -> np.ndarray:
        """The values of a photo's map; raises BadImageError if it is damaged."""


def prediction_maps(location: Path) -> PredictionMaps:
    """The maps in a folder of PNG files, or in a file or folder of a format; see `open_format`.

    Raises:
        DatasetError: There is nothing of that name, or its files are not as the format has them.
    """
    found = open_format(location) if location.exists() else None
    if found is not None:
        return FormatMaps(found)
    if not location.is_dir():
        raise DatasetError(
            f"No folder of predictions at {location}. Give a folder of NAME.png, or masks in a "
            "format of `recoseg convert`."
        )
    return PngMaps(location / "labels" if (location / "labels").is_dir() else location)


class PngMaps:
    """Label maps `NAME.png`; see `PredictionMaps`.

    Args:
        folder: The folder.
    """

    def __init__(self, folder: Path) -> None:
        self.location = folder
        self.names = _listed_classes(folder)

    def place(self, name: str) -> str:
        """See `PredictionMaps`."""
        return str(self._path(name))

    def has(self, name: str) -> bool:
        """See `PredictionMaps`."""
        return self._path(name).exists()

    def stamp(self, name: str) -> str:
        """Size and modification time of the map."""
        return stamp_of(self._path(name))

    def read(self, name: str) -> np.ndarray:
        """See `PredictionMaps`."""
        path = self._path(name)
        try:
            labels = decode_values(read_bytes(path, files.MAX_BYTES))
        except FileError as error:
            raise BadImageError(f"the prediction: {error}") from error
        except BadImageError as error:
            raise BadImageError(f"the prediction {path}: {error}") from error
        if labels.dtype == bool:  # a PNG of one bit per pixel
            labels = labels.astype(np.uint8)
        if not np.issubdtype(labels.dtype, np.integer):
            raise BadImageError(
                f"the prediction {path} has numbers of type {labels.dtype}, not integers"
            )
        return labels

    def _path(self, name: str) -> Path:
        path = self.location / f"{name}.png"
        return path if path.exists() else self._others.get(composed(name), path)

    @cached_property
    def _others(self) -> dict[str, Path]:
        """The maps by name, also those whose suffix or letters are written in another way."""
        return FOLDER.files(self.location, self.location, [".png"])


class FormatMaps:
    """The masks in the format of another tool; see `PredictionMaps`.

    Args:
        found: The masks.
    """

    def __init__(self, found: FormatMasks) -> None:
        self._found = found
        self.location = found.location
        self.names = found.names

    def place(self, name: str) -> str:
        """See `PredictionMaps`."""
        return f"{name} in {self.location}"

    def has(self, name: str) -> bool:
        """See `PredictionMaps`."""
        return self._found.find(name) is not None

    def stamp(self, name: str) -> str:
        """The checksum of the map, since a file may hold many."""
        try:
            return checksum(self.read(name).tobytes())
        except BadImageError as error:
            return str(error)

    def read(self, name: str) -> np.ndarray:
        """See `PredictionMaps`."""
        return self._found.read[self._found.find(name) or name]()


def _listed_classes(folder: Path) -> tuple[str, ...]:
    """The classes that are listed with the maps; none where there is no list."""
    folders = [folder, *([folder.parent] if folder.name == "labels" else [])]
    for path in (place / "classes.txt" for place in folders):
        if path.is_file():
            return tuple(words.name for words in read_classes(path))
    return ()
