"""Identities from one key frame to the next: which instance found is one that was followed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Integer

LEAST_IOU = 0.3
"""Instances that overlap less (IoU) are not the same."""


class Instances(NamedTuple):
    """The instances of a frame.

    Attributes:
        parts: The instance of each pixel, counted from 1; 0 where there is none.
        labels: The class of each instance.
    """

    parts: Integer[np.ndarray, "h w"]
    labels: tuple[int, ...]


def instances_in(
    labels: Integer[np.ndarray, "h w"],
    ignored: int,
    least: float,
    most: int,
    known: Integer[np.ndarray, "h w"] | None = None,
) -> Instances:
    """The instances of a label map, the largest first: those known, and connected parts elsewhere.

    Args:
        labels: One label per pixel.
        ignored: The label of background, which is no instance.
        least: Those of a smaller share of the frame are left out.
        most: Only so many of the largest are kept; of equal ones known ones last, row by row.
        known: Numbers of instances that are known, from 1; pixels of 0 go into connected parts.

    Example:
        >>> found = instances_in(np.array([[7, 7, 9, 7]]), 9, 0.0, 5)
        >>> found.parts.tolist(), found.labels
        ([[1, 1, 0, 2]], (7, 7))
    """
    from skimage.measure import label

    if known is None:
        touching = label(labels, background=ignored, connectivity=1)
    else:
        rest = np.where(known > 0, ignored, labels)
        touching = label(rest, background=ignored, connectivity=1)
        touching = np.where(known > 0, touching.max() + known.astype(np.int64), touching)
    counts = np.bincount(touching.ravel())
    counts[0] = 0
    large = [one for one in range(1, len(counts)) if counts[one] >= least * labels.size]
    kept = sorted(large, key=lambda one: (-int(counts[one]), one))[:most]
    number = np.zeros(len(counts), np.int32)
    number[kept] = np.arange(1, len(kept) + 1)
    own = np.zeros(len(counts), np.int64)
    own[touching.ravel()] = labels.ravel()
    return Instances(number[touching], tuple(int(own[one]) for one in kept))


def overlaps(
    before: Integer[np.ndarray, "h w"], after: Integer[np.ndarray, "h w"], n: int, m: int
) -> Float[np.ndarray, "n m"]:
    """IoU of each instance of one map with each of another.

    Args:
        before: Instances 1 to n, 0 where there is none.
        after: Instances 1 to m, 0 where there is none.
        n: How many there are before.
        m: How many there are after.

    Returns:
        The IoU, 0 to 1; 0 where both are empty.

    Example:
        >>> overlaps(np.array([[1, 1, 0]]), np.array([[0, 1, 1]]), 1, 1).round(2).tolist()
        [[0.33]]
    """
    pairs = before.astype(np.int64) * (m + 1) + after
    table = np.bincount(pairs.ravel(), minlength=(n + 1) * (m + 1)).reshape(n + 1, m + 1)
    hits = table[1:, 1:]
    union = table.sum(1)[1:, None] + table.sum(0)[None, 1:] - hits
    found: np.ndarray = hits / np.maximum(union, 1)
    return found


def same_instances(
    iou: Float[np.ndarray, "n m"],
    before: Sequence[int],
    after: Sequence[int],
    least: float = LEAST_IOU,
) -> dict[int, int]:
    """Which instance after is which one before: of one class, and with the highest sum of IoUs.

    Each instance is matched at most once (Kuhn, "The Hungarian method", 1955).

    Args:
        iou: Overlaps of the instances.
        before: The class of each instance before.
        after: The class of each instance after.
        least: Pairs that overlap less are no match.

    Returns:
        The index before of each index after that has a match.

    Example:
        >>> same_instances(np.array([[0.9, 0.5], [0.6, 0.0]]), [3, 3], [3, 3])
        {1: 0, 0: 1}
    """
    from scipy.optimize import linear_sum_assignment

    is_same = np.array(before, int)[:, None] == np.array(after, int)[None, :]
    worth = np.where(is_same & (iou >= least) & (iou > 0), iou, 0.0)
    pairs = zip(*linear_sum_assignment(worth, maximize=True), strict=True)
    return {int(j): int(i) for i, j in pairs if worth[i, j] > 0}
