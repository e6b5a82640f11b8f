"""Evaluate label maps on a data set: every photo is prepared, predicted and counted once."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from recoseg.datasets.label_space import LabelSpace
from recoseg.datasets.sample import Sample, SegmentationDataset
from recoseg.errors import BadImageError
from recoseg.evaluation.boundary import boundary_counts
from recoseg.evaluation.confusion import confusion_matrix
from recoseg.evaluation.counts_file import CountsFile, PhotoCounts
from recoseg.evaluation.evaluation import Evaluation, ImageScore
from recoseg.evaluation.metrics import class_counts
from recoseg.evaluation.protocols import Protocol
from recoseg.evaluation.rows import Rows, results_of, row_settings, scored_table, short_side_of
from recoseg.photos.load import LoadedPhoto, scaled
from recoseg.photos.refs import Photo
from recoseg.progress import StageProgress
from recoseg.segmentation.segmenter import Segmenter

Predicted = list[np.ndarray] | str
"""The scored labels (h, w), int16, of one photo for each row; or the reason why there are none."""


def evaluate(
    dataset: SegmentationDataset,
    protocol: Protocol,
    rows: Rows,
    *,
    boundary: float | None = None,
    counts: CountsFile | None = None,
    precision: str | None = None,
    device: torch.device | str = "cpu",
    progress: bool | None = False,
) -> list[Evaluation]:
    """Score label maps by a protocol.

    Args:
        dataset: Photos with their truth.
        protocol: How both are prepared.
        rows: Where label maps come from: segmenters or folders of label maps, by name.
        boundary: Tolerance of the boundary measure, see `boundary_counts`; None leaves it out.
        counts: File in which the counts of each photo are kept; photos that it has are not counted
            again unless they have changed. It has to be made with `settings_of` of the same
            arguments, and entered.
        precision: Precision of the encoders' forward passes, for the record; None leaves it out.
        device: Device on which pixels are counted.
        progress: See `StageProgress`.

    Returns:
        An evaluation for each row. It names photos that could not be read or predicted, with the
        reason; they do not count.

    Raises:
        LabelError: A row's classes are not those of the data set, nothing could become the data
            set's background, or a label is out of range.
    """
    started = time.perf_counter()
    stamps = {sample.name: _stamp(sample, rows) for sample in dataset.samples}
    finished = counts.unchanged(stamps) if counts is not None else {}
    todo = [sample for sample in dataset.samples if sample.name not in finished]
    classes = len(dataset.space.scored)
    with StageProgress("Evaluating", len(todo), enabled=progress) as bar:
        found = predictions(todo, protocol, rows, dataset.space)
        for sample, (_, target, predicted) in zip(todo, found, strict=True):
            if isinstance(predicted, str):
                counted = PhotoCounts(sample.name, error=predicted)
            else:
                counted = _count(sample.name, predicted, target, classes, boundary, device)
                counted = replace(counted, stamp=stamps[sample.name])
            finished[sample.name] = counted
            if counts is not None:
                counts.add(counted)
            bar.advance(failed=counted.error is not None)
    seconds = time.perf_counter() - started
    ordered = [finished[sample.name] for sample in dataset.samples]
    return [
        _sum_up(row, number, dataset, ordered, boundary is not None, settings, seconds)
        for number, (row, settings) in enumerate(
            zip(rows, settings_of(dataset, protocol, rows, boundary, precision), strict=True)
        )
    ]


def _stamp(sample: Sample, rows: Rows) -> str:
    """A text that changes when a photo, its truth, its regions or a prediction of it changes."""
    predicted = [
        row.labeller.stamp(Photo(sample.name))
        if isinstance(row, Segmenter)
        else row.stamp(sample.name)
        for row in rows.values()
    ]
    return "; ".join((sample.read_stamp(), *filter(None, predicted)))


def settings_of(
    dataset: SegmentationDataset,
    protocol: Protocol,
    rows: Rows,
    boundary: float | None = None,
    precision: str | None = None,
) -> list[dict[str, Any]]:
    """All that decides the numbers of each row, as JSON fields.

    Raises:
        LabelError: A row's classes are not those of the data set, or nothing could become the data
            set's background.
    """
    for row in rows.values():
        scored_table(row, dataset.space)
    shared = {
        "dataset": dataset.name,
        "split": dataset.split,
        "photos": len(dataset),
        "dataset_fingerprint": _fingerprint(dataset),
        "protocol": protocol.to_json(),
        "boundary_tolerance": boundary,
    }
    return [shared | row_settings(row, precision) for row in rows.values()]


def _fingerprint(dataset: SegmentationDataset) -> str:
    """16 hex digits that differ where photos, classes or their order differ."""
    space = dataset.space
    classes = [space.names, [(group.name, group.members) for group in space.groups]]
    names = [sample.name for sample in dataset.samples]
    return hashlib.sha256(json.dumps([classes, names]).encode()).hexdigest()[:16]


def predictions(
    samples: Sequence[Sample], protocol: Protocol, rows: Rows, space: LabelSpace
) -> Iterator[tuple[LoadedPhoto | Photo, np.ndarray, Predicted]]:
    """Prepared photo, prepared truth and scored labels of each row for each sample, in order.

    If the photo, its truth or a prediction cannot be read, the reason is given instead of labels.

    Args:
        samples: The samples.
        protocol: How they are prepared.
        rows: What predicts the labels.
        space: The label space.

    Raises:
        LabelError: A row does not fit the label space.
    """
    tables = [scored_table(row, space) for row in rows.values()]
    short_side = short_side_of(list(rows.values()))
    waiting: deque[tuple[LoadedPhoto | Photo, np.ndarray]] = deque()

    def prepared() -> Iterator[LoadedPhoto | Photo]:
        for sample in samples:
            waiting.append(_prepare(sample, protocol, short_side))
            yield waiting[-1][0]

    for results in results_of(list(rows.values()), prepared()):
        photo, target = waiting.popleft()
        failures = [result.failure for result in results if result.failure]
        if failures:
            yield photo, target, failures[0]
        else:
            pairs = zip(tables, results, strict=True)
            yield photo, target, [table[result.labels] for table, result in pairs]


def _prepare(
    sample: Sample, protocol: Protocol, short_side: int
) -> tuple[LoadedPhoto | Photo, np.ndarray]:
    """The photo of a sample, named like it, and its truth; failed where one cannot be read."""
    photo = Photo(sample.name)
    try:
        image = sample.read_image()
        photo = replace(photo, width=image.width, height=image.height)
        target = protocol.prepare_labels(sample.read_target())
        prepared = protocol.prepare_photo(image)
        return scaled(photo, prepared, short_side, resize=protocol.scale_input), target
    except BadImageError as error:
        return photo.failed(str(error)), np.empty((0, 0), np.uint8)


def _count(
    name: str,
    predicted: Sequence[np.ndarray],
    target: np.ndarray,
    classes: int,
    boundary: float | None,
    device: torch.device | str,
) -> PhotoCounts:
    truth = torch.tensor(target, device=device)
    counts, edges = [], []
    for labels in predicted:
        preds = torch.from_numpy(labels).to(device)
        counts.append(confusion_matrix(preds, truth, classes).cpu().numpy())
        if boundary is not None:
            edges.append(boundary_counts(preds, truth, classes, boundary).cpu().numpy())
    return PhotoCounts(name, tuple(counts), tuple(edges))


def _sum_up(
    row: str,
    number: int,
    dataset: SegmentationDataset,
    photos: Sequence[PhotoCounts],
    with_boundary: bool,
    settings: dict[str, Any],
    seconds: float,
) -> Evaluation:
    space = dataset.space
    classes = len(space.scored)
    counts = np.zeros((classes, classes + 1), np.int64)
    edges = np.zeros((classes, 4), np.int64) if with_boundary else None
    images = []
    by_image = np.zeros((len(photos), classes, 3), np.int64)
    for place, photo in enumerate(photos):
        if photo.error is not None:
            images.append(ImageScore(photo.name, error=photo.error))
            continue
        counts += photo.counts[number]
        by_image[place] = class_counts(photo.counts[number])
        if edges is not None:
            edges += photo.boundary[number]
        images.append(ImageScore.of(photo.name, photo.counts[number]))
    return Evaluation(
        name=row,
        dataset=dataset.name,
        split=dataset.split,
        names=space.scored,
        palette=space.palette,
        counts=counts,
        boundary=edges,
        settings=settings,
        images=tuple(images),
        seconds=seconds,
        image_counts=by_image,
    )
