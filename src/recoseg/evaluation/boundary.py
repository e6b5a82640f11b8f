"""How well the outlines of the classes are met: the boundary F-score."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float64, Int64, Integer
from torch import Tensor

from recoseg.errors import LabelError
from recoseg.evaluation.confusion import check_maps, raise_for_values
from recoseg.evaluation.metrics import or_none, ratio
from recoseg.labels import IGNORE_INDEX

TOLERANCE = 0.0075
"""The usual distance up to which boundary pixels match, as a fraction of the diagonal."""

_NOTHING = -1


@dataclass(frozen=True, eq=False)
class BoundaryScores:
    """Boundary measures in [0, 1].

    Attributes:
        precision: Per class, the share of predicted boundary pixels near a true one; NaN where
            no boundary is predicted.
        recall: Per class, the share of true boundary pixels near a predicted one; NaN where
            the truth has no boundary.
        f: Per class, the harmonic mean of both; 0 for classes with boundaries in one of the two
            maps only, NaN for classes without any boundary.
        mean_f: Mean over the classes that have boundaries; NaN where no class has one.
    """

    precision: Float64[np.ndarray, " c"]
    recall: Float64[np.ndarray, " c"]
    f: Float64[np.ndarray, " c"]
    mean_f: float

    def to_json(self, names: Sequence[str]) -> dict[str, Any]:
        """The scores with the classes' names; null for NaN."""
        return {
            "mean_f": or_none(self.mean_f),
            "classes": [
                {
                    "name": name,
                    "f": or_none(self.f[label]),
                    "precision": or_none(self.precision[label]),
                    "recall": or_none(self.recall[label]),
                }
                for label, name in enumerate(names)
            ],
        }


def boundary_counts(
    preds: Integer[Tensor, "h w"],
    target: Integer[Tensor, "h w"],
    classes: int,
    tolerance: float = TOLERANCE,
    ignore_index: int = IGNORE_INDEX,
) -> Int64[Tensor, "c 4"]:
    """Count the boundary pixels of each class, and those with a match in the other map nearby.

    A boundary pixel of a class has the label of the class and a pixel of another label above,
    below, left or right of it; the edge of the image is not a boundary. Pixels of either map that
    are void in the truth, or have void above, below, left or right of them, are not counted, but
    they may still match pixels of the other map. The counts of several images may be added up.

    Args:
        preds: Predicted labels, 0 to c - 1, or `ignore_index` for none.
        target: True labels, 0 to c - 1, or `ignore_index` for void.
        classes: Number of classes c.
        tolerance: Largest Euclidean distance that counts as near: below 1 a fraction of the
            image's diagonal, from 1 on pixels.
        ignore_index: The label that is not a class.

    Returns:
        Columns: predicted boundary pixels, those near a true one of the class, true boundary
        pixels, those near a predicted one of the class.

    Raises:
        LabelError: The maps are not of one shape (h, w), a label is out of range, or the
            tolerance is negative.

    Example:
        >>> target = torch.tensor([[0, 0, 1, 1, 1]])
        >>> preds = torch.tensor([[0, 0, 0, 0, 1]])
        >>> boundary_counts(preds, target, 2, tolerance=1).tolist()
        [[1, 0, 1, 0], [1, 0, 1, 0]]
        >>> boundary_counts(preds, target, 2, tolerance=2).tolist()
        [[1, 1, 1, 1], [1, 1, 1, 1]]
    """
    check_maps(preds, target, classes, ignore_index)
    if preds.ndim != 2:
        raise LabelError(f"Expected label maps of shape (h, w); got {tuple(preds.shape)}.")
    if not 0 <= tolerance < math.inf:
        raise LabelError(f"Expected a tolerance of 0 or more; got {tolerance}.")
    raise_for_values(preds, target, classes, ignore_index)
    radius = tolerance * math.hypot(*preds.shape) if tolerance < 1 else tolerance
    preds, target = preds.long(), target.long()
    void = target == ignore_index
    counted = ~(void | _beside(void))
    outlines = [
        labels.masked_fill(~_outline(labels) | (labels < 0) | (labels >= classes), _NOTHING)
        for labels in (preds, target)
    ]
    columns: list[Tensor] = []
    for own, other in (outlines, outlines[::-1]):
        places = ((own != _NOTHING) & counted).nonzero()
        labels = own[places[:, 0], places[:, 1]]
        near = _near(places, labels, other, radius)
        columns += [torch.bincount(found, minlength=classes) for found in (labels, labels[near])]
    return torch.stack(columns, 1)


def boundary_scores(counts: Int64[np.ndarray, "c 4"]) -> BoundaryScores:
    """The measures of boundary counts, from `boundary_counts`, as numpy array.

    Example:
        >>> boundary_scores(np.array([[4, 2, 8, 8]])).f.round(3).tolist()
        [0.667]
    """
    precision = ratio(counts[:, 1], counts[:, 0])
    recall = ratio(counts[:, 3], counts[:, 2])
    p, r = np.nan_to_num(precision), np.nan_to_num(recall)
    f = np.nan_to_num(ratio(2 * p * r, p + r))
    f[(counts[:, 0] == 0) & (counts[:, 2] == 0)] = np.nan
    mean = math.nan if np.isnan(f).all() else float(np.nanmean(f))
    return BoundaryScores(precision, recall, f, mean)


def _outline(labels: Integer[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """Pixels with another label above, below, left or right of them."""
    found = torch.zeros_like(labels, dtype=torch.bool)
    rows, columns = labels[1:] != labels[:-1], labels[:, 1:] != labels[:, :-1]
    found[1:] |= rows
    found[:-1] |= rows
    found[:, 1:] |= columns
    found[:, :-1] |= columns
    return found


def _beside(mask: Bool[Tensor, "h w"]) -> Bool[Tensor, "h w"]:
    """Pixels with a pixel of the mask above, below, left or right of them."""
    found = torch.zeros_like(mask)
    found[1:] |= mask[:-1]
    found[:-1] |= mask[1:]
    found[:, 1:] |= mask[:, :-1]
    found[:, :-1] |= mask[:, 1:]
    return found


def _near(
    places: Int64[Tensor, "n 2"],
    labels: Int64[Tensor, " n"],
    outline: Int64[Tensor, "h w"],
    radius: float,
) -> Bool[Tensor, " n"]:
    """Whether `outline` has the label of each place within the radius.

    A pixel belongs to one class only, so the boundary pixels of all classes fit into one list,
    sorted by class, row and column. Whether a row of the disc around a place contains a pixel of
    the class is then one binary search, whatever the number of classes and the length of the row.
    """
    height, width = outline.shape
    # Farther than the image is nowhere; and the square of a float radius may round down.
    square = math.floor(radius * radius + 1e-9)
    reach_y, reach_x = min(math.isqrt(square), height - 1), min(math.isqrt(square), width - 1)

    def keys(labels: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """Sort keys; the margins keep rows and classes apart."""
        place = (rows + reach_y) * (width + 2 * reach_x) + columns + reach_x
        return labels * ((height + 2 * reach_y) * (width + 2 * reach_x)) + place

    rows, columns = (outline != _NOTHING).nonzero().unbind(1)
    there = keys(outline[rows, columns], rows, columns).sort().values
    there = torch.cat((there, there.new_full((1,), torch.iinfo(torch.int64).max)))
    own = keys(labels, places[:, 0], places[:, 1])
    near = torch.zeros_like(labels, dtype=torch.bool)
    left = torch.arange(len(labels), device=labels.device)
    for step in sorted(range(-reach_y, reach_y + 1), key=abs):
        half = min(math.isqrt(square - step * step), reach_x)
        first = own[left] + (step * (width + 2 * reach_x) - half)
        found = there[torch.searchsorted(there, first)] <= first + 2 * half
        near[left[found]] = True
        left = left[~found]
    return near
