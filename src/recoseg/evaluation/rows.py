"""The rows of a table: segmenters and folders of label maps, and what of them is scored."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int16

from recoseg.datasets.label_space import LabelSpace
from recoseg.errors import LabelError
from recoseg.evaluation.prediction_folder import PredictionFolder
from recoseg.evaluation.translate import translation
from recoseg.labels import ignore_index
from recoseg.photos.load import LoadedPhoto
from recoseg.photos.refs import Photo
from recoseg.segmentation.result import Result
from recoseg.segmentation.segmenter import Segmenter, stream_together

Row = Segmenter | PredictionFolder
"""What predicts the label maps of a row."""

Rows = Mapping[str, Row]
"""The rows of a table by their names; each photo is decoded and encoded once for all rows."""


def row_settings(row: Row, precision: str | None) -> dict[str, Any]:
    """All that decides the label maps of a row, as JSON fields.

    Args:
        row: The row.
        precision: Precision of the encoders' forward passes, if it is to be recorded.
    """
    if isinstance(row, PredictionFolder):
        return dict(row.identity)
    return {**row.identity, "segment": dict(row.settings), "precision": precision}


def scored_table(row: Row, space: LabelSpace) -> Int16[np.ndarray, " 65536"]:
    """From the labels of a row to scored labels; see `translation`.

    Raises:
        LabelError: The row's classes are not those of the label space, or nothing could become
            the label space's background.
    """
    if isinstance(row, PredictionFolder):
        return translation(row.names, space, ignore_index(len(row.names)), row.background)
    labeller = row.labeller
    rule = labeller.background
    idle = not rule.classes and rule.threshold is None and rule.ambiguity is None
    if space.background is not None and space.background not in row.names and idle:
        raise LabelError(
            f"{space.title} has the class {space.background!r}, and no pixel would be given to "
            "it. Give a threshold (--threshold), name context classes that stand for it "
            f"(--background context), or learn a class {space.background!r}."
        )
    return translation(row.names, space, labeller.ignored, labeller.background_names)


def short_side_of(rows: Sequence[Row]) -> int:
    """Short side of the encoders' input, the same for all segmenters; 0 where there are none."""
    return next((row.plan.short_side for row in rows if isinstance(row, Segmenter)), 0)


def results_of(
    rows: Sequence[Row], photos: Iterable[LoadedPhoto | Photo]
) -> Iterator[list[Result]]:
    """The result of each row for each photo; segmenters decode and encode a photo together."""
    segmenters = [row for row in rows if isinstance(row, Segmenter)]
    folders = [row for row in rows if isinstance(row, PredictionFolder)]
    together = bool(segmenters) or not folders
    parts = itertools.tee(photos, len(folders) + together)
    streams: list[Iterator[list[Result]]] = [
        ([result] for result in folder.stream(part))
        for folder, part in zip(folders, parts, strict=False)
    ]
    if together:
        streams.append(stream_together(segmenters, parts[-1]))
    for found in zip(*streams, strict=True):
        results = dict(zip([*folders, *segmenters], itertools.chain(*found), strict=True))
        yield [results[row] for row in rows]
