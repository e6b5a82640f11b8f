"""Label maps in a folder, made by any program, in the place of a segmenter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recoseg.datasets.label_space import LabelSpace
from recoseg.drawing.palette import default_palette
from recoseg.errors import BadImageError, DatasetError, LabelError
from recoseg.evaluation.prediction_maps import prediction_maps
from recoseg.evaluation.protocols import Protocol
from recoseg.evaluation.translate import translation
from recoseg.labels import BACKGROUND, Segmentation, ignore_index, label_dtype
from recoseg.photos.load import LoadedPhoto
from recoseg.photos.refs import Photo
from recoseg.segmentation.result import Result
from recoseg.storage.counts import count_of

_SHOWN = 5  # names in an error


class PredictionFolder:
    """Label maps `NAME.png`, where NAME is the photo's name in the data set.

    Values are indices into the list of predicted classes, counted from 0; the ignore index of that
    many classes (255) is background or no prediction. The list is `classes.txt` in the folder or,
    for a folder `labels`, beside it, as `recoseg segment` writes it; without one, the label space's
    classes in its order (fine classes, where groups are scored). A listed class `background` that
    the label space lacks is background, as in pseudo-labels. A map may have the size of the
    photo itself or that of the prepared photo. A photo whose map is missing, damaged or of another
    size is left out, with the reason.

    Args:
        folder: The folder, or one with the maps in its folder `labels`; sub-folders follow the
            names of the data set's photos. Or masks in the format of another tool, with their own
            list of classes; see `open_format`.
        space: The label space.
        protocol: How the truth is prepared.

    Raises:
        DatasetError: There is no such folder, or its files are not as their format has them.
        LabelError: The listed classes are not those of the label space.
    """

    def __init__(self, folder: Path, space: LabelSpace, protocol: Protocol) -> None:
        self._maps = prediction_maps(folder)
        self.name = folder.resolve().name
        self._protocol = protocol
        self.names = self._maps.names or space.names
        self.palette = default_palette(len(self.names))
        self._ignored = ignore_index(len(self.names))
        beside = BACKGROUND in self.names and BACKGROUND not in space.names
        self.background = (BACKGROUND,) if beside else ()
        translation(self.names, space, self._ignored, self.background)

    @property
    def identity(self) -> dict[str, Any]:
        """Where the maps are, and the classes of their values, as JSON fields."""
        return {"predictions": str(self._maps.location), "classes": list(self.names)}

    def stamp(self, name: str) -> str:
        """What is equal for equal maps of a photo, to see whether it has changed."""
        return self._maps.stamp(name)

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of the photos that have no map."""
        return [name for name in names if not self._maps.has(name)]

    def refuse_missing(self, names: Sequence[str], *, allowed: bool) -> None:
        """Refuse a folder that lacks the maps of photos.

        Args:
            names: The photos, by their names in the data set.
            allowed: Whether some may be missing.

        Raises:
            DatasetError: One is missing that may not, or all are.
        """
        missing = self.missing(names)
        if not missing or (allowed and len(missing) < len(names)):
            return
        shown = ", ".join(missing[:_SHOWN]) + (", ..." if len(missing) > _SHOWN else "")
        advice = (
            "Make the others, or score those that are there with --allow-missing."
            if len(missing) < len(names)
            else "Check the folder: NAME has the folders of the photo's name."
        )
        raise DatasetError(
            f"{len(missing):,} of {count_of(len(names), 'photos')} have no prediction in "
            f"{self._maps.location}: {shown}. Expected a mask with the name of each photo, such as "
            f"{self._maps.place(missing[0])}. {advice}"
        )

    def stream(self, photos: Iterable[LoadedPhoto | Photo]) -> Iterator[Result]:
        """The label maps of photos, in order.

        Args:
            photos: Prepared photos; the path of each is its name in the data set, and width and
                height are those before it was prepared.

        Yields:
            A result per photo; photos that have failed before are passed on.

        Raises:
            LabelError: A map has values that are not labels.
        """
        for item in photos:
            if isinstance(item, Photo):
                yield Result(item)
                continue
            assert item.image is not None
            try:
                labels = self._read(item.photo, item.image)
            except BadImageError as error:
                yield Result(item.photo.failed(str(error)), item.image)
            else:
                found = Segmentation(labels, self.names, self.palette)
                yield Result(item.photo, item.image, found)

    def _read(self, photo: Photo, image: Image.Image) -> np.ndarray:
        if not self._maps.has(photo.path):
            raise BadImageError(f"no prediction in {self._maps.location}")
        labels, path = self._maps.read(photo.path), self._maps.place(photo.path)
        prepared = (image.height, image.width)
        if labels.shape != prepared:
            # Whatever its size, the protocol would bring the map to that of the prepared photo.
            own = (photo.height, photo.width)
            if labels.shape != own:
                sizes = dict.fromkeys(f"{width} x {height}" for height, width in (own, prepared))
                raise BadImageError(
                    f"the prediction {path} has {labels.shape[1]} x {labels.shape[0]} pixels; "
                    f"expected {' or '.join(sizes)}"
                )
            labels = self._protocol.prepare_labels(labels)
        outside = np.setdiff1d(labels, [*range(len(self.names)), self._ignored])
        if outside.size:
            raise LabelError(
                f"{path}: expected labels from 0 to {len(self.names) - 1}, or {self._ignored}, "
                f"which stands for background; got {', '.join(map(str, outside[:8]))}. Are they of "
                "another label space, or do they begin at 1?"
            )
        return labels.astype(label_dtype(self._ignored))
