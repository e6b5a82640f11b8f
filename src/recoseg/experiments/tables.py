"""A study's table beside the paper's, its plot, and its numbers as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from PIL import Image

from recoseg.drawing.plots import bar_picture, curve_picture
from recoseg.errors import MissingExtraError
from recoseg.evaluation.evaluation import Evaluation
from recoseg.evaluation.markdown import escaped, markdown_table, percent
from recoseg.experiments.study import Study
from recoseg.storage.atomic import write_bytes
from recoseg.storage.counts import count_of
from recoseg.storage.fields import to_json
from recoseg.writers.formats import encode_png


def study_markdown(study: Study, found: Mapping[tuple[object, ...], Evaluation]) -> str:
    """The table in Markdown, with the paper's numbers if it reports any, and the notes.

    Args:
        study: The study.
        found: The evaluation of each row by `StudyRow.key`.
    """
    paper = {row.label: row for row in study.published}
    labels = {row.label for row in study.rows}
    header = ["", "accuracy", "mIoU"]
    header += ["paper accuracy", "paper mIoU"] if paper else []
    lines: list[list[object]] = []
    for row in study.rows:
        result = found[row.key]
        line: list[object] = [row.label, *_measures(result)]
        if paper:
            line += _published(paper, row.label)
        lines.append(line)
    lines += [
        [f"({label})", "-", "-", *_published(paper, label)]
        for label in paper
        if label not in labels
    ]
    first = found[study.rows[0].key]
    parts = [
        f"# {study.title}",
        f"{first.dataset}, {first.split}: "
        f"{count_of(len(first.images) - len(first.failures), 'photos')}, "
        f"protocol {first.settings['protocol']['name']}. Accuracy and mIoU in per cent.",
        markdown_table(header, lines),
    ]
    if paper:
        parts.append(f"Paper: {study.published_on}. {study.finding}")
    parts += ["\n".join(f"- {escaped(note)}" for note in study.notes)] if study.notes else []
    return "\n\n".join(parts) + "\n"


def study_picture(study: Study, found: Mapping[tuple[object, ...], Evaluation]) -> Image.Image:
    """A plot: mIoU as bars, or mIoU and accuracy as curves if the study has an x axis.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    mious = [_percent(found[row.key].scores.miou) for row in study.rows]
    if study.x_label is None:
        return bar_picture([row.label for row in study.rows], mious, "mIoU, %")
    xs = [row.label for row in study.rows]
    accuracies = [_percent(found[row.key].scores.accuracy) for row in study.rows]
    curves = {"mIoU": mious, "accuracy": accuracies}
    return curve_picture(xs, curves, study.x_label, "per cent")


def write_study(
    folder: Path, study: Study, found: Mapping[tuple[object, ...], Evaluation]
) -> str | None:
    """Write `NAME.md`, `NAME.json` and `NAME.png`.

    Returns:
        The reason if the plot could not be drawn; otherwise None.
    """
    write_bytes(folder / f"{study.name}.md", study_markdown(study, found).encode())
    rows = [{"label": row.label, "x": row.x} | found[row.key].to_json() for row in study.rows]
    fields: dict[str, Any] = {
        "study": study.name,
        "rows": rows,
        "published": [asdict(row) for row in study.published],
        "published_on": study.published_on,
        **({"notes": list(study.notes)} if study.notes else {}),
    }
    write_bytes(folder / f"{study.name}.json", to_json(fields))
    try:
        picture = study_picture(study, found)
    except MissingExtraError as error:
        return str(error)
    write_bytes(folder / f"{study.name}.png", encode_png(picture))
    return None


def _measures(result: Evaluation) -> list[str]:
    return [percent(result.scores.accuracy), percent(result.scores.miou)]


def _published(paper: Mapping[str, Any], label: str) -> list[str]:
    row = paper.get(label)
    if row is None:
        return ["-", "-"]
    accuracy = "-" if row.accuracy is None else f"{row.accuracy:g}"
    return [accuracy, f"{row.miou:g}"]


def _percent(value: float) -> float:
    return math.nan if math.isnan(value) else 100 * value
