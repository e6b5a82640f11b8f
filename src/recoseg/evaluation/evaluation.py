"""What evaluating a data set gives."""

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

FORMAT = 1
"""Version of the JSON form."""


@dataclass(frozen=True)
class ImageScore:
    """How well one image was segmented.

    Attributes:
        name: Of the image.
        accuracy: Right share of its labelled pixels; None where it has none, or failed.
        miou: Mean IoU over the classes in its truth or prediction; None likewise.
        error: Why it could not be evaluated, or None.
    """

    name: str
    accuracy: float | None = None
    miou: float | None = None
    error: str | None = None

    @classmethod
    def of(cls, name: str, counts: Int64[np.ndarray, "c c+1"]) -> ImageScore:
        """The scores of an image from its own confusion matrix."""
        if not counts.any():
            return cls(name)
        scores = scores_of(counts)
        return cls(name, scores.accuracy, scores.miou)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Everything that was counted over a data set, and how.

    Attributes:
        name: Of what was evaluated.
        dataset: On which data set.
        split: On which part of it.
        names: Names of the scored classes.
        palette: Their RGB colours.
        counts: Confusion matrix of all images; see `confusion_matrix`.
        boundary: Boundary pixels of all images, see `boundary_counts`; None if not asked for.
        settings: All that decides the numbers, as JSON has it (tuples become lists).
        images: One entry per image, in the data set's order.
        seconds: How long it took.
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

    def __post_init__(self) -> None:
        classes = len(self.names)
        found = (len(self.palette), np.shape(self.counts))
        if found != (classes, (classes, classes + 1)):
            raise LabelError(
                f"Expected {classes} colours and counts of shape {(classes, classes + 1)} for "
                f"{classes} classes; got {found[0]} colours and counts of shape {found[1]}."
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
        """The boundary measures, if boundaries were compared."""
        return None if self.boundary is None else boundary_scores(self.boundary)

    @property
    def failures(self) -> tuple[ImageScore, ...]:
        """The images that could not be evaluated."""
        return tuple(image for image in self.images if image.error is not None)

    def best(self, n: int) -> tuple[ImageScore, ...]:
        """The n images of highest mIoU, best first; of equal ones the earlier first."""
        return tuple(sorted(self._scored(), key=lambda image: -(image.miou or 0.0))[:n])

    def worst(self, n: int) -> tuple[ImageScore, ...]:
        """The n images of lowest mIoU, worst first; of equal ones the earlier first."""
        return tuple(sorted(self._scored(), key=lambda image: image.miou or 0.0)[:n])

    def _scored(self) -> list[ImageScore]:
        return [image for image in self.images if image.miou is not None]

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON has them, and the scores for those who read only them."""
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
        """Read what `to_json` gave; the scores are computed again from the counts.

        Raises:
            RecosegError: These are not the fields of an evaluation, or of another format.
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
