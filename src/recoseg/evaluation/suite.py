"""The data sets that later papers report together, and the table of scores on them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recoseg.evaluation.evaluation import Evaluation
from recoseg.evaluation.markdown import escaped, markdown_table, percent, photo_count

SUITE = "community"
"""Name of the suite in place of that of a data set."""

FOLDERS = {
    "voc21": "voc",
    "context60": "context",
    "coco_object": "coco",
    "voc20": "voc",
    "context59": "context",
    "cocostuff171": "coco",
    "cityscapes19": "cityscapes",
    "ade150": "ade20k",
}
"""The eight data sets in the usual order, and the folder below the root that each may lie in."""


def place_of(name: str, root: Path) -> Path:
    """Where a data set is looked for: a folder of its name, its usual folder, or the root itself.

    Args:
        name: One of `FOLDERS`.
        root: Folder of all data sets.
    """
    choices = (root / name, root / FOLDERS[name])
    return next((choice for choice in choices if choice.is_dir()), root)


def mean_miou(found: Mapping[str, Evaluation]) -> float | None:
    """The mean of the mIoU, 0 to 1, of those data sets that have one; None if none has."""
    mious = [one.scores.miou for one in found.values() if one.counts.any()]
    return sum(mious) / len(mious) if mious else None


def suite_markdown(
    found: Mapping[str, Evaluation], left_out: Mapping[str, str], failed: Mapping[str, str]
) -> str:
    """The table of a suite in Markdown.

    Args:
        found: The evaluation on each data set, by name.
        left_out: Why data sets were not tried, by name.
        failed: Why data sets that were tried have none, by name.

    Returns:
        The table, with the mean and the number of data sets that it is of; measures in per cent.
    """
    rows: list[list[object]] = []
    for name in FOLDERS:
        if name not in found:
            rows.append([name, *["-"] * 4])
            continue
        one = found[name]
        measures = ["-"] * 3
        if one.counts.any():
            scores = one.scores
            values = (scores.miou, scores.accuracy, scores.mean_class_accuracy)
            measures = [percent(value) for value in values]
        rows.append([name, photo_count(one), *measures])
    scored = sum(bool(one.counts.any()) for one in found.values())
    mean = percent(mean_miou(found))
    rows.append([f"mean of {scored} of {len(FOLDERS)}", "", mean, "", ""])
    header = ["data set", "photos", "mIoU", "accuracy", "mean class accuracy"]
    parts = ["Measures in per cent.", markdown_table(header, rows)]
    for title, reasons in (("Left out", left_out), ("Failed", failed)):
        if reasons:
            lines = [f"- {name}: {escaped(reason)}" for name, reason in reasons.items()]
            parts.append("\n".join([f"{title}:", "", *lines]))
    return "\n\n".join(parts) + "\n"


def suite_json(
    found: Mapping[str, Evaluation], left_out: Mapping[str, str], failed: Mapping[str, str]
) -> dict[str, Any]:
    """The table as JSON fields; the arguments are those of `suite_markdown`."""
    return {
        "suite": SUITE,
        "data_sets": {
            name: {
                "photos": len(one.images) - len(one.failures),
                "failed": len(one.failures),
                "scores": one.scores.to_json(one.names) if one.counts.any() else None,
                "settings": one.settings,
            }
            for name, one in found.items()
        },
        "left_out": dict(left_out),
        "failed": dict(failed),
        "mean_miou": mean_miou(found),
    }
