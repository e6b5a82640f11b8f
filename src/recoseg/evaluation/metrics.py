"""Pixel measures from a confusion matrix."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float64, Int64

from recoseg.errors import LabelError


@dataclass(frozen=True, eq=False)
class Scores:
    """Measures in [0, 1] over all labelled pixels of a data set.

    Attributes:
        iou: Per class, pixels in truth and prediction over pixels in either; NaN for classes
            that are in neither.
        precision: Per class, the right share of its predicted pixels; NaN if never predicted.
        recall: Per class, the found share of its true pixels; NaN if never true.
        share: Per class, its share of the true pixels.
        miou: Mean IoU over the classes that are in truth or prediction.
        accuracy: The right share of all pixels.
        mean_class_accuracy: Mean recall over the classes that are in the truth.
        frequency_weighted_iou: Mean IoU, each class weighted with its share of the true pixels.
    """

    iou: Float64[np.ndarray, " c"]
    precision: Float64[np.ndarray, " c"]
    recall: Float64[np.ndarray, " c"]
    share: Float64[np.ndarray, " c"]
    miou: float
    accuracy: float
    mean_class_accuracy: float
    frequency_weighted_iou: float

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """The scores with the classes' names; null for NaN."""
        return {
            "miou": self.miou,
            "accuracy": self.accuracy,
            "mean_class_accuracy": self.mean_class_accuracy,
            "frequency_weighted_iou": self.frequency_weighted_iou,
            "classes": [
                {
                    "name": name,
                    "iou": or_none(self.iou[label]),
                    "precision": or_none(self.precision[label]),
                    "recall": or_none(self.recall[label]),
                    "share": or_none(self.share[label]),
                }
                for label, name in enumerate(names)
            ],
        }


def scores_of(counts: Int64[np.ndarray, "c c+1"]) -> Scores:
    """The measures of a confusion matrix.

    Args:
        counts: Confusion matrix from `confusion_matrix`, as a NumPy array.

    Raises:
        LabelError: No labelled pixel was counted.

    Example:
        >>> scores = scores_of(np.array([[3, 1, 0], [0, 2, 2]]))
        >>> scores.accuracy, scores.iou.tolist()
        (0.625, [0.75, 0.4])
    """
    true = counts.sum(1)
    total = int(true.sum())
    if not total:
        raise LabelError(
            "No labelled pixel was compared: the data set has no image, or every pixel of the "
            "truth is ignored. Check the folder of the data set and its label space."
        )
    right = np.diagonal(counts)
    predicted = counts[:, :-1].sum(0)
    iou = ratio(right, true + predicted - right)
    recall = ratio(right, true)
    share = true / total
    return Scores(
        iou=iou,
        precision=ratio(right, predicted),
        recall=recall,
        share=share,
        miou=float(np.nanmean(iou)),
        accuracy=float(right.sum() / total),
        mean_class_accuracy=float(np.nanmean(recall)),
        frequency_weighted_iou=float((share * np.nan_to_num(iou)).sum()),
    )


def class_counts(counts: Int64[np.ndarray, "c c+1"]) -> Int64[np.ndarray, "c 3"]:
    """Right, true and predicted pixels of each class, from which its IoU follows.

    Example:
        >>> class_counts(np.array([[3, 1, 0], [0, 2, 2]])).tolist()
        [[3, 4, 3], [2, 4, 3]]
    """
    return np.stack([np.diagonal(counts), counts.sum(1), counts[:, :-1].sum(0)], axis=1)


def class_iou(counts: Int64[np.ndarray, "*n c 3"]) -> Float64[np.ndarray, "*n c"]:
    """IoU of each class from its right, true and predicted pixels; NaN where it is in neither.

    Example:
        >>> class_iou(np.array([[3, 4, 3], [2, 4, 3], [0, 0, 0]])).tolist()
        [0.75, 0.4, nan]
    """
    right = counts[..., 0]
    either = counts[..., 1] + counts[..., 2] - right
    return np.divide(right, either, out=np.full(right.shape, np.nan), where=either != 0)


@dataclass(frozen=True)
class Confusion:
    """One class taken for another.

    Attributes:
        truth: Label of the true class.
        taken_for: Label of the predicted class; the number of classes where nothing is predicted.
        pixels: Number of pixels.
        share: The same as a fraction of the pixels of the true class, in (0, 1].
    """

    truth: int
    taken_for: int
    pixels: int
    share: float


def confusions(counts: Int64[np.ndarray, "c c+1"], most: int = 10) -> list[Confusion]:
    """The most frequent confusions by pixels; equally frequent ones in the order of the matrix.

    Example:
        >>> [found] = confusions(np.array([[3, 1, 0], [0, 2, 0]]))
        >>> found
        Confusion(truth=0, taken_for=1, pixels=1, share=0.25)
    """
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    true = counts.sum(1)
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order, wrong.shape)
    return [
        Confusion(row, column, int(wrong[row, column]), float(wrong[row, column] / true[row]))
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True)
        if wrong[row, column]
    ]


def ratio(part: np.ndarray, whole: np.ndarray) -> Float64[np.ndarray, " c"]:
    """Part over whole, NaN where the whole is 0."""
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole != 0)


def or_none(value: float) -> float | None:
    """A Python float, or None for NaN, which JSON cannot express."""
    return None if math.isnan(value) else float(value)
