"""The result of an evaluation on a data set."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from jaxtyping import Int64

from recoseg.errors import LabelError, RecosegError
from recoseg.evaluation.boundary import BoundaryScores, boundary_scores
from recoseg.evaluation.metrics import Scores, scores_of
from recoseg.labels import Colour
from recoseg.storage.counts import count_of

FORMAT = 1
"""Version of the JSON form."""


@dataclass(frozen=True)
class ImageScore:
    """How well one image was segmented.

    Attributes:
        name: Name of the image.
        accuracy: Fraction of its labelled pixels that are right; None where it has no labelled
            pixel or could not be evaluated.
        miou: Mean IoU over the classes in its truth or prediction; None in the same cases.
        error: Why it could not be evaluated; None where it was.
    """

    name: str
    accuracy: float | None = None
    miou: float | None = None
    error: str | None = None

    @classmethod
    def of(cls, name: str, counts: Int64[np.ndarray, "c c+1"]) -> ImageScore:
        """The scores of an image, from its confusion matrix."""
        if not counts.any():
            return cls(name)
        scores = scores_of(counts)
        return cls(name, scores.accuracy, scores.miou)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """All that was counted on a data set, with the settings that it was counted with.

    Attributes:
        name: Name of what was evaluated.
        dataset: Name of the data set.
        split: Split of the data set.
        names: Names of the scored classes.
        palette: RGB of each scored class.
        counts: Confusion matrix of all images; see `confusion_matrix`.
        boundary: Boundary pixels of all images, see `boundary_counts`; None if not counted.
        settings: All that decides the numbers, as JSON fields (tuples become lists).
        images: Scores of each image, in the order of the data set.
        seconds: Duration of the evaluation.
        image_counts: Right, true and predicted pixels of each class in each image, see
            `class_counts`; zeros for images that could not be evaluated. None if the evaluation
            was read from JSON, which does not hold them.
    """

    name: str
    dataset: str
    split: str
    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    counts: Int64[np.ndarray, "c c+1"]
    boundary: Int64[np.ndarray, "c 4"] | None
    settings: dict[str, Any]
    images: tuple[ImageScore, ...]
    seconds: float
    image_counts: Int64[np.ndarray, "n c 3"] | None = None

    def __post_init__(self) -> None:
        classes = len(self.names)
        found = (len(self.palette), np.shape(self.counts))
        if found != (classes, (classes, classes + 1)):
            raise LabelError(
                f"Expected {classes} colours and counts of shape {(classes, classes + 1)} for "
                f"{count_of(classes, 'classes')}; got {found[0]} colours and counts of shape "
                f"{found[1]}."
            )
        if self.boundary is not None and np.shape(self.boundary) != (classes, 4):
            raise LabelError(
                f"Expected boundary counts of shape {(classes, 4)}; got {np.shape(self.boundary)}."
            )
        settings = json.loads(json.dumps(self.settings, allow_nan=False))
        object.__setattr__(self, "settings", settings)

    @property
    def scores(self) -> Scores:
        """The pixel measures.

        Raises:
            LabelError: No labelled pixel was compared.
        """
        return scores_of(self.counts)

    @property
    def boundary_scores(self) -> BoundaryScores | None:
        """The boundary measures; None if boundaries were not compared."""
        return None if self.boundary is None else boundary_scores(self.boundary)

    @property
    def failures(self) -> tuple[ImageScore, ...]:
        """The images that could not be evaluated."""
        return tuple(image for image in self.images if image.error is not None)

    def best(self, n: int) -> tuple[ImageScore, ...]:
        """The n images with the highest mIoU, best first; images with equal mIoU in their order."""
        return tuple(sorted(self._scored(), key=lambda image: -(image.miou or 0.0))[:n])

    def worst(self, n: int) -> tuple[ImageScore, ...]:
        """The n images with the lowest mIoU, worst first; images with equal mIoU in their order."""
        return tuple(sorted(self._scored(), key=lambda image: image.miou or 0.0)[:n])

    def _scored(self) -> list[ImageScore]:
        return [image for image in self.images if image.miou is not None]

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON, with the scores for readers of the file."""
        boundary = self.boundary_scores
        return {
            "format": FORMAT,
            "name": self.name,
            "dataset": self.dataset,
            "split": self.split,
            "seconds": self.seconds,
            "settings": self.settings,
            "scores": self.scores.to_json(self.names) if self.counts.any() else None,
            "boundary_scores": None if boundary is None else boundary.to_json(self.names),
            "names": list(self.names),
            "palette": [list(colour) for colour in self.palette],
            "counts": self.counts.tolist(),
            "boundary": None if self.boundary is None else self.boundary.tolist(),
            "images": [asdict(image) for image in self.images],
        }

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Evaluation:
        """Read the result of `to_json`; the scores are computed again from the counts.

        Raises:
            RecosegError: The fields are not those of an evaluation, or have another format.
        """
        if fields.get("format") != FORMAT:
            raise RecosegError(
                f"Expected an evaluation of format {FORMAT}; got {fields.get('format')!r}. "
                "Evaluate again with this version of recoseg."
            )
        try:
            boundary = fields["boundary"]
            return cls(
                name=fields["name"],
                dataset=fields["dataset"],
                split=fields["split"],
                names=tuple(fields["names"]),
                palette=tuple((red, green, blue) for red, green, blue in fields["palette"]),
                counts=np.array(fields["counts"], np.int64),
                boundary=None if boundary is None else np.array(boundary, np.int64),
                settings=fields["settings"],
                images=tuple(ImageScore(**image) for image in fields["images"]),
                seconds=fields["seconds"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise RecosegError(
                f"Expected the fields of an evaluation; {type(error).__name__}: {error}."
            ) from error
