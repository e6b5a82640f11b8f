"""The report of an evaluation: its scores, its confusion matrix, and a page for each class."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from recoseg.datasets.sample import SegmentationDataset
from recoseg.drawing.gallery import Gallery, GalleryPhoto, legend_of
from recoseg.drawing.palette import hex_colour
from recoseg.drawing.photo_pair import shares_of, shrunk, with_masks
from recoseg.drawing.report import LONG_SIDE, PAGE, Report
from recoseg.evaluation.class_photos import ConfusedWith, best_and_worst, confused_with
from recoseg.evaluation.evaluate import predictions
from recoseg.evaluation.evaluation import Evaluation
from recoseg.evaluation.markdown import percent, photo_count, settings_rows
from recoseg.evaluation.metrics import Scores, class_iou, ratio
from recoseg.evaluation.protocols import Protocol
from recoseg.evaluation.rows import Rows
from recoseg.labels import IGNORE_INDEX, Colour, Segmentation
from recoseg.photos.refs import Photo
from recoseg.progress import track

SHOWN = 4
"""Best and worst photos of each class, each."""

_LAYERS = ("photo", "truth", "prediction")


@dataclass(frozen=True)
class ShownPhoto:
    """A photo on the page of a class, with the IoU that the class has in it."""

    photo: GalleryPhoto
    iou: float


@dataclass(frozen=True)
class ClassRow:
    """A class in the table, with the measures in per cent."""

    name: str
    colour: str
    page: str
    iou: str
    precision: str
    recall: str
    share: str


@dataclass(frozen=True)
class Cell:
    """A cell of the confusion matrix: its share of the row, in [0, 1]; None where that is NaN."""

    share: float | None

    @property
    def text(self) -> str:
        """The share in per cent; empty where it would be rounded to 0."""
        return f"{100 * self.share:.0f}" if self.share is not None and self.share >= 0.005 else ""

    @property
    def shade(self) -> str:
        """How strongly the cell is coloured: the root, on which few per cent are seen."""
        return f"{math.sqrt(self.share or 0):.2f}"


def write_pages(
    folder: Path,
    evaluation: Evaluation,
    dataset: SegmentationDataset,
    protocol: Protocol,
    rows: Rows,
    *,
    progress: bool | None = False,
) -> Path:
    """Write the report of an evaluation.

    The photos that it shows are segmented once more.

    Args:
        folder: Where to write; a report that is there is replaced.
        evaluation: The evaluation, with its `image_counts`.
        dataset: The data set that was evaluated on.
        protocol: The protocol of the evaluation.
        rows: What was evaluated, by its name.
        progress: See `StageProgress`.

    Returns:
        The first page, `index.html`.
    """
    counts = evaluation.image_counts
    assert counts is not None
    chosen = [best_and_worst(counts, label, SHOWN) for label in range(len(evaluation.names))]
    with Report(folder) as report:
        places = sorted({place for pair in chosen for part in pair for place in part})
        photos = draw_photos(report, places, evaluation, dataset, protocol, rows, progress)
        legend = legend_of(evaluation.names, evaluation.palette, list(photos.values()))
        shown = Gallery("photos", _LAYERS, False, legend, list(photos.values()), "mIoU")
        report.gallery(shown)
        classes = _classes(evaluation)
        for label, (best, worst) in enumerate(chosen):
            taken_for, taken = confused_with(evaluation.counts, evaluation.names, label)
            report.page(
                classes[label].page,
                "class.html.jinja",
                title=f"{evaluation.names[label]} in {evaluation.name}",
                row=classes[label],
                taken_for=_confused(taken_for),
                taken=_confused(taken),
                layers=_LAYERS,
                best=_shown(best, photos, counts, label),
                worst=_shown(worst, photos, counts, label),
            )
        return report.page(
            PAGE,
            "evaluation.html.jinja",
            title=f"{evaluation.name} on {evaluation.dataset}, {evaluation.split}",
            headline=_headline(evaluation),
            classes=classes,
            columns=[*evaluation.names, *(["(no prediction)"] if _unpredicted(evaluation) else [])],
            matrix=_matrix(evaluation),
            gallery=shown,
            settings=settings_rows(evaluation.settings),
            failures={image.name: image.error for image in evaluation.failures},
        )


def draw_photos(
    report: Report,
    places: Sequence[int],
    evaluation: Evaluation,
    dataset: SegmentationDataset,
    protocol: Protocol,
    rows: Rows,
    progress: bool | None,
) -> dict[int, GalleryPhoto]:
    """Photos with their truth and the prediction of each row.

    Args:
        report: Gets the pictures.
        places: Places of the photos in the data set.
        evaluation: Gives each photo's mIoU, and the names and colours of the classes.
        dataset: The data set.
        protocol: How photos and truth are prepared.
        rows: What predicts.
        progress: See `StageProgress`.

    Returns:
        The photos by their places, without those that can no longer be read. The shares are those
        of the truth.
    """
    samples = [dataset.samples[place] for place in places]
    found = predictions(samples, protocol, rows, dataset.space)
    drawn: dict[int, GalleryPhoto] = {}
    pairs = zip(places, samples, found, strict=True)
    for place, sample, (photo, target, predicted) in track(
        pairs, "Drawing the report", total=len(samples), enabled=progress
    ):
        if isinstance(predicted, str) or isinstance(photo, Photo):
            continue
        assert photo.image is not None
        truth = _labelled(target, evaluation.names, evaluation.palette)
        maps = [truth]
        for labels in predicted:
            own = labels.astype(np.uint8)
            own[target == IGNORE_INDEX] = IGNORE_INDEX  # void is void on both, as published
            maps.append(_labelled(own, evaluation.names, evaluation.palette))
        pictures = [_small(photo.image), *(_painted(photo.image, found) for found in maps)]
        drawn[place] = GalleryPhoto(
            sample.name,
            tuple(map(report.keep, pictures)),
            pictures[0].size,
            shares_of(truth),
            evaluation.images[place].miou,
        )
    return drawn


def _labelled(
    labels: np.ndarray, names: tuple[str, ...], palette: tuple[Colour, ...]
) -> Segmentation:
    return Segmentation(np.ascontiguousarray(labels), names, palette)


def _small(image: Image.Image) -> Image.Image:
    small = image.copy()
    small.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
    return small


def _painted(image: Image.Image, found: Segmentation) -> Image.Image:
    return with_masks(*shrunk(image, found, LONG_SIDE))


def _shown(
    places: Sequence[int], photos: dict[int, GalleryPhoto], counts: np.ndarray, label: int
) -> list[ShownPhoto]:
    iou = class_iou(counts)[:, label]
    return [ShownPhoto(photos[place], float(iou[place])) for place in places if place in photos]


def _scores(evaluation: Evaluation) -> Scores | None:
    return evaluation.scores if evaluation.counts.any() else None


def _classes(evaluation: Evaluation) -> list[ClassRow]:
    scores = _scores(evaluation)
    rows = []
    for label, name in enumerate(evaluation.names):
        measures = ("iou", "precision", "recall", "share")
        values = [
            percent(None if scores is None else float(getattr(scores, what)[label]))
            for what in measures
        ]
        colour = hex_colour(evaluation.palette[label])
        rows.append(ClassRow(name, colour, f"classes/{label + 1}.html", *values))
    return rows


def _headline(evaluation: Evaluation) -> list[tuple[str, str]]:
    """The measures of the whole data set, in per cent, and the number of photos."""
    scores = _scores(evaluation)
    if scores is None:
        return [("photos", photo_count(evaluation))]
    found = [
        ("mIoU", percent(scores.miou)),
        ("pixel accuracy", percent(scores.accuracy)),
        ("mean class accuracy", percent(scores.mean_class_accuracy)),
        ("frequency-weighted IoU", percent(scores.frequency_weighted_iou)),
    ]
    if evaluation.boundary_scores is not None:
        found.append(("boundary F", percent(evaluation.boundary_scores.mean_f)))
    return [*found, ("photos", photo_count(evaluation))]


def _unpredicted(evaluation: Evaluation) -> bool:
    return bool(evaluation.counts[:, -1].any())


def _matrix(evaluation: Evaluation) -> list[list[Cell]]:
    """The confusion matrix in shares of the true class."""
    counts = evaluation.counts if _unpredicted(evaluation) else evaluation.counts[:, :-1]
    true = evaluation.counts.sum(1)
    columns = [ratio(column, true) for column in counts.T]
    return [
        [Cell(None if math.isnan(column[label]) else float(column[label])) for column in columns]
        for label in range(len(evaluation.names))
    ]


def _confused(found: Sequence[ConfusedWith]) -> list[tuple[str, str, str]]:
    return [(item.name, percent(item.share), f"{item.pixels:,}") for item in found]
