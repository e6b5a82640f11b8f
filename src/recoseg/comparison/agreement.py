"""How far two label maps of the same photo agree, where there is no truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64, Integer

from recoseg.errors import BadImageError
from recoseg.evaluation.metrics import class_counts, class_iou
from recoseg.labels import BACKGROUND, ignore_index


def common_names(one: Sequence[str], other: Sequence[str]) -> tuple[str, ...]:
    """The classes of both: those of the one in its order, then the others; last `background`.

    Pixels without a label and pixels of a class `background` are the same.

    Example:
        >>> common_names(["dog", "background"], ["cat", "dog"])
        ('dog', 'cat', 'background')
    """
    named = [name for name in (*one, *other) if name != BACKGROUND]
    return (*dict.fromkeys(named), BACKGROUND)


def common_labels(names: Sequence[str], common: Sequence[str]) -> Int64[np.ndarray, " labels"]:
    """A table from the labels of some classes to the places of these among the common ones.

    Args:
        names: The class of each label.
        common: Names of `common_names`.

    Returns:
        A place for every value that a label map may have; -1 for values that are no label.
    """
    ignored = ignore_index(len(names))
    table = np.full(ignored + 1, -1, np.int64)
    table[: len(names)] = [common.index(name) for name in names]
    table[ignored] = len(common) - 1
    return table


def agreement_counts(
    one: Integer[np.ndarray, "h w"], other: Integer[np.ndarray, "_ _"], classes: int
) -> Int64[np.ndarray, "c c"]:
    """How many pixels have each pair of labels.

    Args:
        one: Labels, 0 to c - 1; those of the rows.
        other: Labels of the same photo; those of the columns.
        classes: Number of classes c.

    Raises:
        BadImageError: The maps differ in size.

    Example:
        >>> agreement_counts(np.array([[0, 1]]), np.array([[0, 0]]), 2).tolist()
        [[1, 0], [1, 0]]
    """
    if one.shape != other.shape:
        sizes = [f"{width} x {height}" for height, width in (one.shape, other.shape)]
        raise BadImageError(f"its masks differ in size: {sizes[0]} and {sizes[1]} pixels")
    pairs = one.astype(np.int64).ravel() * classes + other.astype(np.int64).ravel()
    return np.bincount(pairs, minlength=classes * classes).reshape(classes, classes)


@dataclass(frozen=True)
class PhotoAgreement:
    """How far the label maps of a photo agree.

    Attributes:
        name: Name of the photo.
        share: Share of its pixels that have the same class in both, 0 to 1.
    """

    name: str
    share: float


@dataclass(frozen=True)
class Transition:
    """Pixels of one class in the one that are another class in the other.

    Attributes:
        one: The class in the one.
        other: The class in the other.
        pixels: Number of pixels.
        share: The same as a fraction of all pixels.
    """

    one: str
    other: str
    pixels: int
    share: float


@dataclass(frozen=True)
class ClassAgreement:
    """How far two runs agree on a class.

    Attributes:
        name: The class.
        shares: The share of all pixels that it has in the one and in the other.
        iou: IoU of its masks in the one and in the other; None where neither has it.
    """

    name: str
    shares: tuple[float, float]
    iou: float | None


@dataclass(frozen=True)
class Agreement:
    """How far two runs agree.

    Attributes:
        share: Share of all pixels that have the same class in both, 0 to 1.
        classes: Each class.
        transitions: The most frequent disagreements.
        photos: Each photo, those that agree least first.
        failures: Why photos could not be compared, by their names.
    """

    share: float
    classes: tuple[ClassAgreement, ...]
    transitions: tuple[Transition, ...]
    photos: tuple[PhotoAgreement, ...]
    failures: dict[str, str]


def agreement_of(
    counts: Int64[np.ndarray, "c c"],
    names: Sequence[str],
    photos: Sequence[PhotoAgreement],
    failures: dict[str, str],
    *,
    most: int = 10,
) -> Agreement:
    """Sum up the agreement of all photos.

    Args:
        counts: Pixels of all photos by their pair of labels; some at least.
        names: Name of each class.
        photos: How far each photo agrees.
        failures: Why photos could not be compared.
        most: Largest number of transitions.
    """
    total = int(counts.sum())
    ours = class_counts(np.pad(counts, ((0, 0), (0, 1))))
    iou = class_iou(ours)
    classes = tuple(
        ClassAgreement(
            name,
            (int(ours[label, 1]) / total, int(ours[label, 2]) / total),
            None if np.isnan(iou[label]) else float(iou[label]),
        )
        for label, name in enumerate(names)
    )
    changed = counts - np.diag(np.diagonal(counts))
    order = np.argsort(-changed, axis=None, kind="stable")[:most]
    rows, columns = (part.tolist() for part in np.unravel_index(order, changed.shape))
    transitions = tuple(
        Transition(
            names[row], names[column], int(changed[row, column]), changed[row, column] / total
        )
        for row, column in zip(rows, columns, strict=True)
        if changed[row, column]
    )
    least_first = tuple(sorted(photos, key=lambda photo: (photo.share, photo.name)))
    share = int(np.trace(counts)) / total
    return Agreement(share, classes, transitions, least_first, failures)
