"""Evaluate label maps on a data set: every photo is prepared, predicted and counted once."""

from __future__ import annotations

import hashlib
import json
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from PIL import Image

from recoseg.datasets.sample import Sample, SegmentationDataset
from recoseg.errors import BadImageError
from recoseg.evaluation.boundary import boundary_counts
from recoseg.evaluation.confusion import confusion_matrix
from recoseg.evaluation.counts_file import PhotoCounts, Record
from recoseg.evaluation.evaluation import Evaluation, ImageScore
from recoseg.evaluation.predictions import Predicted, Predictor
from recoseg.evaluation.protocols import Protocol
from recoseg.progress import StageProgress


def evaluate(
    dataset: SegmentationDataset,
    protocol: Protocol,
    predictor: Predictor,
    *,
    boundary: float | None = None,
    record: Record | None = None,
    device: torch.device | str = "cpu",
    progress: bool | None = False,
) -> list[Evaluation]:
    """Score label maps by a protocol.

    Args:
        dataset: Photos with their truth.
        protocol: How both are prepared.
        predictor: Where label maps come from; one row of a table, or several that share the work.
        boundary: Tolerance of the boundary measure, see `boundary_counts`; None leaves it out.
        record: Where the counts of each photo are kept, entered; what it has is not counted again.
            It has to be made with `settings_of` of the same arguments.
        device: Where pixels are counted.
        progress: See `StageProgress`.

    Returns:
        An evaluation for each row. A photo that cannot be read or predicted is named there with
        the reason, and counts nothing.

    Raises:
        LabelError: A predicted label is out of range.
    """
    started = time.perf_counter()
    finished = dict(record.finished) if record is not None else {}
    todo = [sample for sample in dataset.samples if sample.name not in finished]
    classes = len(dataset.space.scored)
    with StageProgress("Evaluating", len(todo), enabled=progress) as bar:
        for name, target, predicted in predictions(todo, protocol, predictor):
            if isinstance(predicted, str):
                counted = PhotoCounts(name, error=predicted)
            else:
                counted = _count(name, predicted, target, classes, boundary, device)
            finished[name] = counted
            if record is not None:
                record.add(counted)
            bar.advance(failed=counted.error is not None)
    seconds = time.perf_counter() - started
    ordered = [finished[sample.name] for sample in dataset.samples]
    return [
        _sum_up(row, number, dataset, ordered, boundary is not None, settings, seconds)
        for number, (row, settings) in enumerate(
            zip(predictor.rows, settings_of(dataset, protocol, predictor, boundary), strict=True)
        )
    ]


def settings_of(
    dataset: SegmentationDataset,
    protocol: Protocol,
    predictor: Predictor,
    boundary: float | None = None,
) -> list[dict[str, Any]]:
    """All that decides the numbers of each row, as JSON has it."""
    shared = {
        "dataset": dataset.name,
        "split": dataset.split,
        "photos": len(dataset),
        "dataset_fingerprint": _fingerprint(dataset),
        "protocol": asdict(protocol),
        "boundary_tolerance": boundary,
    }
    return [shared | own for own in predictor.settings]


def _fingerprint(dataset: SegmentationDataset) -> str:
    """Tells data sets of other photos or other classes, or in another order, apart."""
    space = dataset.space
    classes = [space.names, [(group.name, group.members) for group in space.groups]]
    names = [sample.name for sample in dataset.samples]
    return hashlib.sha256(json.dumps([classes, names]).encode()).hexdigest()[:16]


def predictions(
    samples: Sequence[Sample], protocol: Protocol, predictor: Predictor
) -> Iterator[tuple[str, np.ndarray, Predicted]]:
    """Name, prepared truth and scored labels of each photo, in order.

    Where the photo or its truth cannot be read, the reason stands for the labels.
    """
    waiting: deque[tuple[str, np.ndarray | str]] = deque()

    def prepared() -> Iterator[tuple[Sample, Image.Image]]:
        for sample in samples:
            try:
                image = protocol.prepare_photo(sample.read_image())
                target = protocol.prepare_labels(sample.read_target())
            except BadImageError as error:
                waiting.append((sample.name, str(error)))
                continue
            waiting.append((sample.name, target))
            yield sample, image

    for predicted in predictor.predict(prepared()):
        yield from _failed(waiting)
        name, target = waiting.popleft()
        assert not isinstance(target, str)
        yield name, target, predicted
    yield from _failed(waiting)


def _failed(
    waiting: deque[tuple[str, np.ndarray | str]],
) -> Iterator[tuple[str, np.ndarray, Predicted]]:
    """The photos at the head of the queue that could not be read."""
    while waiting and isinstance(waiting[0][1], str):
        name, reason = waiting.popleft()
        assert isinstance(reason, str)
        yield name, np.empty((0, 0), np.uint8), reason


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
    for photo in photos:
        if photo.error is not None:
            images.append(ImageScore(photo.name, error=photo.error))
            continue
        counts += photo.counts[number]
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
    )
