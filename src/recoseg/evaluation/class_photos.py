"""In which photos a class was segmented best and worst, and what it was confused with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from recoseg.evaluation.metrics import class_iou


def best_and_worst(
    counts: Int64[np.ndarray, "n c 3"], label: int, most: int
) -> tuple[list[int], list[int]]:
    """The photos in which a class was segmented best and worst.

    Only photos count that have the class in their truth or their prediction. Of photos with equal
    IoU those come first in which the class has more right pixels (best) or more wrong ones (worst).
    A photo that is among both, because there are few, is among the best only.

    Args:
        counts: Right, true and predicted pixels of each class in each photo; see `class_counts`.
        label: The class.
        most: Largest number of photos of each kind.

    Returns:
        Places of photos, best first; and places of photos, worst first.

    Example:
        >>> counts = np.array([[[4, 4, 4]], [[0, 4, 0]], [[1, 4, 1]], [[0, 0, 0]], [[0, 0, 9]]])
        >>> best_and_worst(counts, 0, 2)
        ([0, 2], [4, 1])
    """
    iou = class_iou(counts)[:, label]
    right, true, predicted = counts[:, label].T
    wrong = true + predicted - 2 * right
    there = np.flatnonzero(~np.isnan(iou)).tolist()
    found = [place for place in there if right[place]]
    best = sorted(found, key=lambda place: (-iou[place], -right[place], place))[:most]
    others = [place for place in there if place not in best]
    return best, sorted(others, key=lambda place: (iou[place], -wrong[place], place))[:most]


@dataclass(frozen=True)
class ConfusedWith:
    """Another class that a class is confused with.

    Attributes:
        name: The other class, or `(no prediction)`.
        pixels: Number of pixels.
        share: The same as a fraction of the pixels of the class, in (0, 1].
    """

    name: str
    pixels: int
    share: float


def confused_with(
    counts: Int64[np.ndarray, "c c+1"], names: Sequence[str], label: int, most: int = 8
) -> tuple[list[ConfusedWith], list[ConfusedWith]]:
    """What pixels of a class were taken for, and of what classes its wrong predictions are.

    Args:
        counts: Rows are true classes, columns predicted ones and none.
        names: Names of the classes.
        label: The class.
        most: Largest number of classes in each list.

    Returns:
        What its true pixels were taken for, as fractions of its true pixels; and what pixels that
        were taken for it are, as fractions of its predicted pixels. The most frequent ones first.

    Example:
        >>> [taken_for], [taken] = confused_with(np.array([[3, 1, 0], [2, 2, 0]]), ["a", "b"], 0)
        >>> taken_for
        ConfusedWith(name='b', pixels=1, share=0.25)
        >>> taken
        ConfusedWith(name='b', pixels=2, share=0.4)
    """
    columns = [*names, "(no prediction)"]
    return (
        _most(counts[label], columns, label, most),
        _most(counts[:, label], columns[:-1], label, most),
    )


def _most(
    pixels: Int64[np.ndarray, " c"], names: Sequence[str], label: int, most: int
) -> list[ConfusedWith]:
    total = int(pixels.sum())
    order = np.argsort(-pixels, kind="stable").tolist()
    found = [place for place in order if place != label and pixels[place]][:most]
    return [
        ConfusedWith(names[place], int(pixels[place]), int(pixels[place]) / total)
        for place in found
    ]
