"""Where predicted label maps come from: segmenters, or a folder of anybody's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from typing import Protocol as TypingProtocol

import numpy as np
from PIL import Image

from recoseg.classes import read_classes
from recoseg.datasets.label_space import LabelSpace
from recoseg.datasets.masks import decode_values
from recoseg.datasets.sample import Sample
from recoseg.errors import BadImageError, DatasetError, LabelError
from recoseg.evaluation.protocols import Protocol
from recoseg.evaluation.translate import translation
from recoseg.labels import ignore_index
from recoseg.photos.inputs import Photo
from recoseg.segmentation.bank_segmenter import Segmenter, segment_together
from recoseg.segmentation.batches import Outcome
from recoseg.segmentation.labeller import Competing, Labeller

Predicted = list[np.ndarray] | str
"""One photo's scored labels (h, w), int16, for each row; or why there are none."""


class Predictor(TypingProtocol):
    """Gives label maps for one or more rows of a table."""

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows."""

    @property
    def settings(self) -> list[dict[str, Any]]:
        """All that decides each row's label maps, as JSON has it."""

    def predict(self, photos: Iterable[tuple[Sample, Image.Image]]) -> Iterator[Predicted]:
        """Scored labels of prepared photos, in order."""


class SegmenterRows:
    """Segmenters that share encoders: each photo is encoded once for all rows.

    Args:
        segmenters: By name of the row.
        space: The label space; see `translation`.
        precision: Of the encoders' forward passes, for the settings; None leaves it out.

    Raises:
        LabelError: A bank's classes are not those of the label space, or nothing could become the
            label space's background.
    """

    def __init__(
        self,
        segmenters: Mapping[str, Segmenter],
        space: LabelSpace,
        *,
        precision: str | None = None,
    ) -> None:
        self._segmenters = list(segmenters.values())
        self._precision = precision
        self._rows = tuple(segmenters)
        self._tables = []
        for segmenter in self._segmenters:
            self._tables.append(_table(segmenter.labeller, space))

    @property
    def rows(self) -> tuple[str, ...]:
        """Names of the rows."""
        return self._rows

    @property
    def settings(self) -> list[dict[str, Any]]:
        """Bank and segmentation settings of each row."""
        return [
            {
                "bank": {
                    "fingerprint": segmenter.bank.fingerprint,
                    "encoders": {
                        role: info.to_json() for role, info in vars(segmenter.bank.encoders).items()
                    },
                    "learn": segmenter.bank.settings.to_json()["learn"],
                    "classes": [str(concept.words) for concept in segmenter.bank.classes],
                },
                "segment": segmenter.settings,
                "precision": self._precision,
            }
            for segmenter in self._segmenters
        ]

    def predict(self, photos: Iterable[tuple[Sample, Image.Image]]) -> Iterator[Predicted]:
        """See `Predictor`."""
        images = (image for _, image in photos)
        for outcomes in segment_together(self._segmenters, images):
            found: list[np.ndarray] = []
            for outcome, table in zip(outcomes, self._tables, strict=True):
                if outcome.segmentation is not None:
                    found.append(table[outcome.segmentation.labels])
            yield found if len(found) == len(outcomes) else outcomes[0].error or "unknown"


class LabellingSegmenter(TypingProtocol):
    """A segmenter of any kind that tells what it is and how it labels."""

    @property
    def labeller(self) -> Labeller[Competing]:
        """What makes label maps of its scores."""

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the masks beside the model."""

    @property
    def identity(self) -> dict[str, Any]:
        """The model itself, as JSON fields."""

    def stream(self, photos: Iterable[Photo]) -> Iterator[Outcome]:
        """Segment photos in order."""


class StreamRows:
    """One segmenter of any kind, such as a trained model.

    Args:
        name: Of the row.
        segmenter: The segmenter.
        space: The label space; see `translation`.
        precision: Of its forward passes, for the settings; None leaves it out.

    Raises:
        LabelError: Its classes are not those of the label space, or nothing could become the
            label space's background.
    """

    def __init__(
        self,
        name: str,
        segmenter: LabellingSegmenter,
        space: LabelSpace,
        *,
        precision: str | None = None,
    ) -> None:
        self._name, self._segmenter, self._precision = name, segmenter, precision
        self._table = _table(segmenter.labeller, space)

    @property
    def rows(self) -> tuple[str, ...]:
        """The one name."""
        return (self._name,)

    @property
    def settings(self) -> list[dict[str, Any]]:
        """Model and segmentation settings."""
        segmenter = self._segmenter
        own = {"segment": segmenter.settings, "precision": self._precision}
        return [segmenter.identity | own]

    def predict(self, photos: Iterable[tuple[Sample, Image.Image]]) -> Iterator[Predicted]:
        """See `Predictor`."""
        for outcome in self._segmenter.stream(image for _, image in photos):
            if outcome.segmentation is None:
                yield outcome.error or "unknown"
            else:
                yield [self._table[outcome.segmentation.labels]]


def _table(labeller: Labeller[Competing], space: LabelSpace) -> np.ndarray:
    """From a labeller's labels to scored ones; see `translation`."""
    idle = not labeller.background.classes and labeller.background.threshold is None
    if space.background is not None and space.background not in labeller.names and idle:
        raise LabelError(
            f"{space.title} has the class {space.background!r}, and nothing would be given to it. "
            "Give a threshold (--threshold), name context classes that stand for it (--background "
            f"context), or learn a class {space.background!r}."
        )
    return translation(labeller.names, space, labeller.ignored, labeller.background_names)


class PredictionFolder:
    """Label maps that stand in a folder: `NAME.png`, where NAME is the photo's in the data set.

    Values are places in the list of predicted classes, counted from 0; the ignore index of that
    many classes (255) is background or no prediction. The list is `classes.txt` in the folder or,
    for a folder `labels`, beside it, as `recoseg segment` writes it; without one, the label space's
    classes in its order (fine classes, where groups are scored). A map may have the size of the
    photo itself or that of the prepared photo. A map that is missing, damaged or of another size
    leaves its photo out.

    Args:
        folder: The folder, or one with the maps in its folder `labels`; sub-folders follow the
            names of the data set's photos.
        space: The label space.
        protocol: How the truth is prepared.

    Raises:
        DatasetError: There is no such folder.
        LabelError: The classes in `classes.txt` are not those of the label space.
    """

    def __init__(self, folder: Path, space: LabelSpace, protocol: Protocol) -> None:
        if not folder.is_dir():
            raise DatasetError(f"No folder of predictions at {folder}. Give one of NAME.png.")
        self._name = folder.resolve().name
        self._folder = folder / "labels" if (folder / "labels").is_dir() else folder
        self._protocol = protocol
        self._classes = _listed_classes(self._folder) or space.names
        self._ignored = ignore_index(len(self._classes))
        self._table = translation(self._classes, space, self._ignored)

    @property
    def rows(self) -> tuple[str, ...]:
        """The folder's name."""
        return (self._name,)

    @property
    def settings(self) -> list[dict[str, Any]]:
        """Where the maps are, and the classes of their values."""
        return [{"predictions": str(self._folder), "classes": list(self._classes)}]

    def predict(self, photos: Iterable[tuple[Sample, Image.Image]]) -> Iterator[Predicted]:
        """See `Predictor`."""
        for sample, image in photos:
            try:
                yield [self._read(sample, image)]
            except BadImageError as error:
                yield str(error)

    def _read(self, sample: Sample, image: Image.Image) -> np.ndarray:
        path = self._folder / f"{sample.name}.png"
        if not path.is_file():
            raise BadImageError(f"no prediction {path.name} in {path.parent}")
        try:
            labels = decode_values(path.read_bytes())
        except OSError as error:
            raise BadImageError(
                f"the prediction {path} cannot be read: {error.strerror or error}"
            ) from error
        except BadImageError as error:
            raise BadImageError(f"the prediction {path}: {error}") from error
        if labels.dtype == bool:  # a PNG of one bit per pixel
            labels = labels.astype(np.uint8)
        prepared = (image.height, image.width)
        if labels.shape != prepared:
            # Whatever its size, the protocol would bring the map to that of the prepared photo.
            own = sample.read_target().shape
            if labels.shape != own:
                sizes = dict.fromkeys(f"{width} x {height}" for height, width in (own, prepared))
                raise BadImageError(
                    f"the prediction {path} has {labels.shape[1]} x {labels.shape[0]} pixels; "
                    f"expected {' or '.join(sizes)}"
                )
            labels = self._protocol.prepare_labels(labels)
        outside = np.setdiff1d(labels, [*range(len(self._classes)), self._ignored])
        if outside.size:
            raise LabelError(
                f"{path}: expected labels from 0 to {len(self._classes) - 1}, or "
                f"{self._ignored}, which stands for background; got "
                f"{', '.join(map(str, outside[:8]))}. Are they of another label space, or do they "
                "begin at 1?"
            )
        return self._table[labels]


def _listed_classes(folder: Path) -> tuple[str, ...]:
    """The classes that stand beside the maps; none where there is no list."""
    places = [folder / "classes.txt"]
    if folder.name == "labels":
        places.append(folder.parent / "classes.txt")
    for path in places:
        if path.is_file():
            return tuple(words.name for words in read_classes(path))
    return ()
