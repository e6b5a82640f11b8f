"""An evaluation as text to read: Markdown that is also plain to the eye."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from recoseg.evaluation.evaluation import Evaluation, ImageScore
from recoseg.evaluation.metrics import confusions
from recoseg.storage.counts import count_of

_NONE = "-"
_MOST_FAILURES = 20


def markdown_table(
    header: Sequence[str], rows: Sequence[Sequence[object]], *, numbers_from: int = 1
) -> str:
    """A Markdown table whose columns are also aligned as plain text.

    Args:
        header: Titles of the columns.
        rows: Cells; each row is as long as the header.
        numbers_from: Columns from this one on are aligned to the right.

    Raises:
        ValueError: A row is not as long as the header.

    Example:
        >>> print(markdown_table(["class", "IoU"], [["tree", 0.5], ["traffic sign", 0.25]]))
        | class        |  IoU |
        |:-------------|-----:|
        | tree         |  0.5 |
        | traffic sign | 0.25 |
    """
    cells = [[_cell(cell) for cell in row] for row in (header, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    rules = [
        "-" * (width + 1) + ":" if place >= numbers_from else ":" + "-" * (width + 1)
        for place, width in enumerate(widths)
    ]
    lines = [
        " | ".join(
            cell.rjust(width) if place >= numbers_from else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in cells
    ]
    return "\n".join([f"| {lines[0]} |", f"|{'|'.join(rules)}|", *(f"| {x} |" for x in lines[1:])])


def percent(value: float | None, digits: int = 1) -> str:
    """A number in [0, 1] in per cent, without the sign; `-` for None and NaN.

    Example:
        >>> percent(0.26349), percent(math.nan)
        ('26.3', '-')
    """
    return _NONE if value is None or math.isnan(value) else f"{100 * value:.{digits}f}"


def report_markdown(evaluation: Evaluation, *, most_confusions: int = 10) -> str:
    """The report of an evaluation: scores, settings, classes, confusions and failures.

    Args:
        evaluation: The evaluation.
        most_confusions: Maximum number of confusions listed.

    Returns:
        Markdown; all measures in per cent.
    """
    parts = [
        f"# {escaped(evaluation.name)} on {escaped(evaluation.dataset)}, "
        f"{escaped(evaluation.split)}",
        headline(evaluation),
        "All measures are in per cent, over all labelled pixels of all photos together. mIoU is "
        "the mean over the classes that occur in the truth or the prediction; IoU is -, and not "
        "part of the mean, where a class occurs in neither.",
        _counts_line(evaluation),
        "## Settings\n\n"
        + markdown_table(["setting", "value"], settings_rows(evaluation.settings), numbers_from=2),
        "## Classes\n\n" + _classes(evaluation) + _of_photos(evaluation),
    ]
    wrong = _confusions(evaluation, most_confusions)
    if wrong:
        parts.append("## Most frequent confusions\n\n" + wrong)
    if evaluation.failures:
        parts.append("## Photos that could not be evaluated\n\n" + _failures(evaluation))
    return "\n\n".join(parts) + "\n"


def settings_rows(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings as rows of dotted names and values.

    Example:
        >>> settings_rows({"input": {"crop": 320}, "refine": None, "names": ["a", "b"]})
        [('input.crop', '320'), ('refine', 'none'), ('names', 'a, b')]
    """
    rows: list[tuple[str, str]] = []
    for name, value in settings.items():
        if isinstance(value, Mapping) and value:
            rows += settings_rows(value, f"{prefix}{name}.")
        else:
            rows.append((prefix + name, _plain(value)))
    return rows


def headline(evaluation: Evaluation) -> str:
    """The scores on the data set as a table of one row, in per cent."""
    header = ["mIoU", "pixel accuracy", "mean class accuracy", "frequency-weighted IoU"]
    if not evaluation.counts.any():
        return "No labelled pixel was compared, so there are no scores."
    scores = evaluation.scores
    row = [
        percent(scores.miou),
        percent(scores.accuracy),
        percent(scores.mean_class_accuracy),
        percent(scores.frequency_weighted_iou),
    ]
    if evaluation.boundary_scores is not None:
        header.append("boundary F")
        row.append(percent(evaluation.boundary_scores.mean_f))
    header.append("photos")
    row.append(photo_count(evaluation))
    return markdown_table(header, [row], numbers_from=0)


def photo_count(evaluation: Evaluation) -> str:
    """How many photos the scores are of, such as `296` or, if others failed, `2 of 296`."""
    tried, failed = len(evaluation.images), len(evaluation.failures)
    return f"{tried:,}" if not failed else f"{tried - failed:,} of {tried:,}"


def _photos(evaluation: Evaluation) -> str:
    """As `photo_count`, with the noun."""
    tried, failed = len(evaluation.images), len(evaluation.failures)
    of_all = f"{tried - failed:,} of " if failed else ""
    return f"{of_all}{count_of(tried, 'photos')}"


def reasons(failures: Sequence[ImageScore]) -> list[str]:
    """Why photos could not be evaluated: one line for all that have the same reason."""
    names: dict[str, list[str]] = {}
    for image in failures:
        names.setdefault(str(image.error), []).append(image.name)
    return [
        f"{same[0]}: {reason}"
        if len(same) == 1
        else f"{count_of(len(same), 'photos')}, such as {same[0]}: {reason}"
        for reason, same in names.items()
    ]


def _counts_line(evaluation: Evaluation) -> str:
    void = sum(image.error is None and image.miou is None for image in evaluation.images)
    pixels = int(evaluation.counts.sum())
    left = int(evaluation.counts[:, -1].sum())
    parts = [_photos(evaluation), count_of(pixels, "labelled pixels")]
    if left:
        parts.append(f"{percent(left / pixels)} % of them without a prediction, counted as wrong")
    if void:
        parts.append(f"{count_of(void, 'photos')} without a labelled pixel")
    return f"{', '.join(parts)}; {evaluation.seconds:.0f} s."


def _of_photos(evaluation: Evaluation) -> str:
    """A sentence below a table that is not of all photos."""
    return f"\n\nOf {_photos(evaluation)}." if evaluation.failures else ""


def _classes(evaluation: Evaluation) -> str:
    boundary = evaluation.boundary_scores
    header = ["class", "IoU", "precision", "recall", "share of pixels"]
    if boundary is not None:
        header.append("boundary F")
    if evaluation.counts.any():
        scores = evaluation.scores
        columns = [scores.iou, scores.precision, scores.recall, scores.share]
    else:
        columns = [np.full(len(evaluation.names), math.nan)] * 4
    rows: list[list[str]] = []
    for label, name in enumerate(evaluation.names):
        row = [name, *(percent(column[label]) for column in columns)]
        if boundary is not None:
            row.append(percent(boundary.f[label]))
        rows.append(row)
    return markdown_table(header, rows)


def _confusions(evaluation: Evaluation, most: int) -> str:
    names = [escaped(name) for name in evaluation.names]
    lines: list[str] = []
    for found in confusions(evaluation.counts, most):
        share = f"{percent(found.share, 0 if found.share >= 0.01 else 1)} % of {names[found.truth]}"
        if found.taken_for == len(names):
            lines.append(f"- {names[found.truth]} without a prediction: {share}")
        else:
            lines.append(f"- {names[found.truth]} taken for {names[found.taken_for]}: {share}")
    return "\n".join(lines)


def _failures(evaluation: Evaluation) -> str:
    failures = evaluation.failures
    shown = failures[:_MOST_FAILURES]
    lines = [f"- {escaped(image.name)}: {escaped(str(image.error))}" for image in shown]
    if len(failures) > _MOST_FAILURES:
        lines.append(f"- and {len(failures) - _MOST_FAILURES} more")
    return "\n".join(lines)


def _plain(value: object) -> str:
    """A setting's value in words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_plain(item) for item in value) or "none"
    return str(value) if value != {} else "none"


def _cell(value: object) -> str:
    """Text that cannot end a table's cell or row."""
    return escaped(str(value))


def escaped(text: str) -> str:
    r"""Text as Markdown that shows it: one line, without markup, HTML or control characters.

    Example:
        >>> print(escaped("<b> a|b & `c`"))
        &lt;b> a\|b &amp; \`c\`
    """
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = line.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([\\`|\[\]]|(?<!\w)[*_]|[*_](?!\w))", r"\\\1", line)
