"""Whether two scores on the same photos differ by more than chance: the paired bootstrap.

The photos of a data set are a sample of all photos that one might have taken. Drawn again from
themselves, with replacement and as many as there are, they give other scores; how much these vary
tells how far the scores of another sample might lie away (Efron and Tibshirani, An Introduction to
the Bootstrap, 1993, chapters 13 and 16). Both scores are computed on the same drawn photos, so that
photos that are hard for both do not count.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64

from recoseg.evaluation.metrics import class_iou

RESAMPLES = 2000
LEVEL = 0.95
"""Probability with which an interval is meant to hold the difference on all photos."""

_AT_A_TIME = 1 << 24  # numbers of drawn pixel counts that are held


@dataclass(frozen=True, eq=False)
class Differences:
    """How much higher the other's measures are than the one's.

    The last place of each array is mIoU, those before it the IoU of each class.

    Attributes:
        value: The difference on the photos themselves, in [-1, 1]; NaN for classes that one of the
            two has neither in truth nor prediction.
        low: Lower end of the interval at `LEVEL`.
        high: Upper end.
        p_value: How often a difference at least as far from 0 would be seen if there were none, in
            (0, 1]; see `p_values`.
    """

    value: Float64[np.ndarray, " m"]
    low: Float64[np.ndarray, " m"]
    high: Float64[np.ndarray, " m"]
    p_value: Float64[np.ndarray, " m"]


def paired_bootstrap(
    one: Int64[np.ndarray, "n c 3"],
    other: Int64[np.ndarray, "n c 3"],
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Differences:
    """Compare the IoU of two methods that have segmented the same photos.

    Args:
        one: Right, true and predicted pixels of each class in each photo, see `class_counts`.
        other: The same of the other method, photos in the same order.
        resamples: How often the photos are drawn.
        seed: Of the random numbers; equal seeds give equal results.

    Raises:
        ValueError: The photos or classes differ in number, or there are none.
    """
    if one.shape != other.shape or not len(one):
        raise ValueError(f"Expected counts of the same photos; got {one.shape} and {other.shape}.")
    random = np.random.default_rng(seed)
    step = max(1, _AT_A_TIME // max(len(one), one[0].size))
    found = []
    for start in range(0, resamples, step):
        draws = random.integers(0, len(one), (min(step, resamples - start), len(one)))
        found.append(drawn_differences(one, other, draws))
    drawn = np.concatenate(found)
    every = np.arange(len(one))[None]
    tail = (1 - LEVEL) / 2
    low, high = _quantiles(drawn, [tail, 1 - tail])
    return Differences(drawn_differences(one, other, every)[0], low, high, p_values(drawn))


def drawn_differences(
    one: Int64[np.ndarray, "n c 3"],
    other: Int64[np.ndarray, "n c 3"],
    draws: Int64[np.ndarray, "r k"],
) -> Float64[np.ndarray, "r m"]:
    """The differences of the measures on drawn photos: IoU of each class, and last mIoU.

    Args:
        one: Right, true and predicted pixels of each class in each photo.
        other: The same of the other method.
        draws: The places of the photos of each resample; a photo may be drawn several times.

    Example:
        >>> one, other = np.array([[[2, 4, 2]], [[4, 4, 4]]]), np.array([[[4, 4, 4]], [[4, 4, 4]]])
        >>> drawn_differences(one, other, np.array([[0, 1], [1, 1]])).tolist()
        [[0.25, 0.25], [0.0, 0.0]]
    """
    photos = len(one)
    offsets = np.arange(len(draws))[:, None] * photos
    times = np.bincount((draws + offsets).ravel(), minlength=len(draws) * photos)
    weights = times.reshape(len(draws), photos).astype(np.float64)  # exact up to 2^53 pixels
    return _measures(weights, other) - _measures(weights, one)


def p_values(drawn: Float64[np.ndarray, "r m"]) -> Float64[np.ndarray, " m"]:
    """Two-sided p-values from drawn differences: twice the smaller share on either side of 0.

    The share counts one resample more than there are, so that no p-value is 0. NaN where no
    resample has a difference.

    Example:
        >>> p_values(np.array([[0.1], [0.2], [0.3], [-0.1]])).tolist()
        [0.8]
    """
    known = (~np.isnan(drawn)).sum(0)
    below, above = (drawn <= 0).sum(0), (drawn >= 0).sum(0)
    shares = 2 * (1 + np.minimum(below, above)) / (1 + known)
    return np.where(known > 0, np.minimum(1.0, shares), np.nan)


def _measures(
    weights: Float64[np.ndarray, "r n"], counts: Int64[np.ndarray, "n c 3"]
) -> Float64[np.ndarray, "r m"]:
    """IoU of each class and mIoU of weighted photos."""
    sums = (weights @ counts.reshape(len(counts), -1)).reshape(len(weights), *counts.shape[1:])
    iou = class_iou(sums.astype(np.int64))
    return np.concatenate([iou, _mean(iou)[:, None]], axis=1)


def _mean(iou: Float64[np.ndarray, "r c"]) -> Float64[np.ndarray, " r"]:
    """The mean over the classes that have an IoU; NaN where none has."""
    known = ~np.isnan(iou)
    total = np.where(known, iou, 0).sum(1)
    return np.divide(total, known.sum(1), out=np.full(len(iou), np.nan), where=known.any(1))


def _quantiles(drawn: Float64[np.ndarray, "r m"], at: list[float]) -> Float64[np.ndarray, "q m"]:
    """Quantiles of the known values of each column; NaN where there are none."""
    found = np.full((len(at), drawn.shape[1]), np.nan)
    for column, values in enumerate(drawn.T):
        known = values[~np.isnan(values)]
        if known.size:
            found[:, column] = np.quantile(known, at)
    return found
