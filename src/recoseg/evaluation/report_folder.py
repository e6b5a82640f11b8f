"""The folder of an evaluation: scores as JSON, report, pictures."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from recoseg.datasets.sample import SegmentationDataset
from recoseg.drawing.confusion_plot import confusion_picture
from recoseg.drawing.evaluation_sheet import SheetRow, contact_sheet
from recoseg.errors import MissingExtraError
from recoseg.evaluation.evaluate import predictions
from recoseg.evaluation.evaluation import Evaluation
from recoseg.evaluation.markdown import report_markdown
from recoseg.evaluation.protocols import Protocol
from recoseg.evaluation.rows import Row
from recoseg.labels import IGNORE_INDEX
from recoseg.photos.refs import Photo
from recoseg.storage.atomic import write_bytes
from recoseg.storage.fields import to_json
from recoseg.writers.formats import encode_jpeg, encode_png

FILES = ("evaluation.json", "report.md", "confusion.png", "sheet.jpg")
"""What is written to the folder."""

SHOWN = 5
"""Best and worst photos on the contact sheet, each."""


def write_evaluation(
    folder: Path,
    evaluation: Evaluation,
    dataset: SegmentationDataset,
    protocol: Protocol,
    row: Row,
) -> list[str]:
    """Write `evaluation.json`, `report.md`, `confusion.png` and `sheet.jpg`, see `FILES`.

    Files of an earlier evaluation are replaced, or removed if there is no new one.

    Args:
        folder: Where to write; it is created if it does not exist.
        evaluation: The result.
        dataset: The data set that was evaluated on.
        protocol: The protocol of the evaluation.
        row: What was evaluated; gives the label maps of the best and worst photos again.

    Returns:
        One line for each file that could not be written, with the reason.
    """
    write_bytes(folder / "evaluation.json", to_json(evaluation.to_json()))
    write_bytes(folder / "report.md", report_markdown(evaluation).encode("utf-8", "replace"))
    for name in ("confusion.png", "sheet.jpg"):
        (folder / name).unlink(missing_ok=True)
    if not evaluation.counts.any():
        return ["pictures: no labelled pixel was compared"]
    left_out = []
    try:
        picture = confusion_picture(evaluation.counts, evaluation.names)
        write_bytes(folder / "confusion.png", encode_png(picture))
    except MissingExtraError as error:
        left_out.append(f"confusion.png: {error}")
    rows = sheet_rows(evaluation, dataset, protocol, row)
    if not rows:
        return [*left_out, "sheet.jpg: its photos can no longer be read"]
    sheet = contact_sheet(rows, evaluation.palette, evaluation.names)
    write_bytes(folder / "sheet.jpg", encode_jpeg(sheet))
    return left_out


def sheet_rows(
    evaluation: Evaluation,
    dataset: SegmentationDataset,
    protocol: Protocol,
    row: Row,
    shown: int = SHOWN,
) -> list[SheetRow]:
    """The best and the worst photos of an evaluation; they are predicted again.

    A photo that is among both, because there are few photos, is shown among the best only.
    """
    best = evaluation.best(shown)
    worst = [photo for photo in evaluation.worst(shown) if photo not in best]
    groups = {photo.name: "best" for photo in best} | {photo.name: "worst" for photo in worst}
    samples = {sample.name: sample for sample in dataset.samples if sample.name in groups}
    scores = {photo.name: photo.miou for photo in evaluation.images}
    rows = []
    chosen = [samples[photo.name] for photo in (*best, *worst)]
    found = predictions(chosen, protocol, {"": row}, dataset.space)
    for sample, (photo, target, predicted) in zip(chosen, found, strict=True):
        if isinstance(predicted, str) or isinstance(photo, Photo):
            continue
        assert photo.image is not None
        labels = predicted[0].astype(np.uint8)
        labels[target == IGNORE_INDEX] = IGNORE_INDEX  # void is void on both, as published
        name = sample.name
        rows.append(SheetRow(name, scores[name], photo.image, target, labels, groups[name]))
    return rows
