"""Two runs on the same labelled photos: from their masks, or from what evaluations have counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from recoseg.comparison.comparison import Comparison
from recoseg.comparison.scores import Counted, ScoreComparison, compare_scores
from recoseg.datasets.sample import SegmentationDataset
from recoseg.drawing.gallery import Gallery, GalleryPhoto, legend_of
from recoseg.drawing.report import Report
from recoseg.errors import DatasetError
from recoseg.evaluation.counts_file import LINES, PhotoCounts
from recoseg.evaluation.evaluate import evaluate as count
from recoseg.evaluation.evaluation import Evaluation
from recoseg.evaluation.metrics import class_counts
from recoseg.evaluation.pages import draw_photos
from recoseg.evaluation.prediction_folder import PredictionFolder
from recoseg.evaluation.protocols import Protocol
from recoseg.evaluation.rows import Row
from recoseg.pipeline.compare_masks import settings_of_runs
from recoseg.storage.reading import read_json
from recoseg.storage.run_record import SETTINGS, read_run_lines

_ORDER = "most changed first"


def compare_labelled(
    names: tuple[str, str],
    one: Path,
    other: Path,
    data: SegmentationDataset,
    protocol: Protocol,
    *,
    allow_missing: bool,
    report: Report | None,
    shown: int,
    resamples: int,
    seed: int,
    progress: bool | None,
) -> tuple[Comparison, Gallery | None]:
    """Score two folders of masks on a labelled data set and compare them.

    Args:
        names: What the two are called.
        one: Folder or file of masks; see `PredictionFolder`.
        other: Another one.
        data: The data set.
        protocol: How truth and masks are prepared.
        allow_missing: Whether photos without masks are left out.
        report: Gets the pictures of the photos that changed most; None for none.
        shown: Largest number of these.
        resamples: How often photos are drawn for the intervals.
        seed: Of the random numbers.
        progress: See `StageProgress`.

    Returns:
        The comparison, and the photos that changed most.
    """
    rows: dict[str, Row] = {}
    for name, path in zip(names, (one, other), strict=True):
        row = PredictionFolder(path, data.space, protocol)
        row.refuse_missing([sample.name for sample in data.samples], allowed=allow_missing)
        rows[name] = row
    found = count(data, protocol, rows, progress=progress)
    counted = [_of_evaluation(evaluation) for evaluation in found]
    scores = compare_scores(*counted, resamples=resamples, seed=seed)
    gallery = None
    if report is not None:
        places = {sample.name: place for place, sample in enumerate(data.samples)}
        changed = [places[photo.name] for photo in scores.photos[:shown]]
        drawn = draw_photos(report, changed, found[0], data, protocol, rows, progress)
        gallery = _gallery(names, found[0], scores, [drawn[at] for at in changed if at in drawn])
    return Comparison(names, settings=settings_of_runs(one, other), scores=scores), gallery


def compare_evaluations(
    names: tuple[str, str], one: Path, other: Path, resamples: int, seed: int
) -> Comparison:
    """Compare two folders of `recoseg evaluate`, which hold what was counted on each photo.

    Raises:
        DatasetError: They are evaluations on different photos or classes.
    """
    stored = [read_json(folder / SETTINGS) for folder in (one, other)]
    if stored[0].get("dataset_fingerprint") != stored[1].get("dataset_fingerprint"):
        said = [f"{fields.get('dataset')}, {fields.get('split')}" for fields in stored]
        raise DatasetError(
            f"{one} and {other} are evaluations on different photos or classes ({said[0]}; "
            f"{said[1]}). Expected the same data set, split and photos."
        )
    counted = [_of_folder(folder) for folder in (one, other)]
    scores = compare_scores(*counted, resamples=resamples, seed=seed)
    return Comparison(names, settings=settings_of_runs(one, other), scores=scores)


def _of_evaluation(found: Evaluation) -> Counted:
    assert found.image_counts is not None
    return Counted(
        found.names,
        tuple(image.name for image in found.images),
        found.image_counts,
        frozenset(image.name for image in found.failures),
    )


def _of_folder(folder: Path) -> Counted:
    """What an evaluation has counted on each photo; its first row, where it has several."""
    names = Evaluation.from_json(read_json(folder / "evaluation.json")).names
    fields = (line for line in read_run_lines(folder, LINES) if line is not None)
    photos = [PhotoCounts.from_json(line, len(names)) for line in fields if "name" in line]
    counts = np.zeros((len(photos), len(names), 3), np.int64)
    for place, photo in enumerate(photos):
        if photo.counts:
            counts[place] = class_counts(photo.counts[0])
    failed = frozenset(photo.name for photo in photos if not photo.counts)
    return Counted(names, tuple(photo.name for photo in photos), counts, failed)


def _gallery(
    names: tuple[str, str],
    evaluation: Evaluation,
    scores: ScoreComparison,
    drawn: list[GalleryPhoto],
) -> Gallery:
    """The photos that changed most, with how much their mIoU has changed."""
    by_name = {photo.name: abs(photo.difference) for photo in scores.photos}
    photos = [replace(photo, score=by_name[photo.name]) for photo in drawn]
    legend = legend_of(evaluation.names, evaluation.palette, photos)
    layers = ("photo", "truth", *names)
    return Gallery("photos", layers, False, legend, photos, "change of mIoU", _ORDER)
