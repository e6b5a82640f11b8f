"""How sure a segmenter is at each pixel, and label maps of what it is sure of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from jaxtyping import Float, UInt8

from recoseg.errors import OptionError, RecosegError
from recoseg.labels import Segmentation

_STRIP = 1 << 20  # pixels that are computed at a time


def certainty(segmentation: Segmentation) -> UInt8[np.ndarray, "h w"]:
    """The highest probability of a class at each pixel, times 255 and rounded.

    Probabilities are those before refinement, which a segmenter takes at evenly spaced pixels; see
    `Segmentation.confidence`. Between these they are interpolated bilinearly.

    Args:
        segmentation: A label map of a segmenter.

    Raises:
        RecosegError: The label map has no probabilities.

    Example:
        >>> from recoseg.labels import Probabilities
        >>> values = np.array([[[1.0, 0.5]], [[0.0, 0.5]]], np.float16)
        >>> labels = np.zeros((1, 4), np.uint8)
        >>> certainty(Segmentation(labels, ("a", "b"), (), None, Probabilities(values, 2)))
        array([[255, 191, 128, 128]], dtype=uint8)
    """
    if segmentation.probabilities is None:
        raise RecosegError(
            "The label map has no probabilities, which only those of a segmenter have. Segment the "
            "photo with a concept bank or a trained model."
        )
    step = segmentation.probabilities.step
    best = segmentation.probabilities.values.max(0).astype(np.float32)
    height, width = segmentation.labels.shape
    found = np.empty((height, width), np.uint8)
    rows = max(1, _STRIP // width)
    for start in range(0, height, rows):
        places = np.arange(start, min(start + rows, height), dtype=np.float32) / step
        strip = _between(_between(best, places).T, np.arange(width, dtype=np.float32) / step).T
        found[start : start + rows] = np.rint(strip * 255)
    return found


def keep_certain(segmentation: Segmentation, threshold: float) -> Segmentation:
    """The label map in which pixels that are less certain are background.

    Args:
        segmentation: A label map of a segmenter.
        threshold: Pixels whose `certainty` is below 255 times this number become background; from
            0, which changes nothing, to 1.

    Raises:
        OptionError: The threshold is out of range.
        RecosegError: The label map has no probabilities.
    """
    if not 0 <= threshold <= 1:
        raise OptionError(f"threshold is {threshold}; expected a probability, from 0 to 1.")
    if threshold == 0:
        return segmentation
    labels = segmentation.labels.copy()
    labels[certainty(segmentation) < threshold * 255] = segmentation.ignore_index
    return replace(segmentation, labels=labels)


def _between(
    values: Float[np.ndarray, "n m"], places: Float[np.ndarray, " r"]
) -> Float[np.ndarray, "r m"]:
    """Rows at places between others, from 0 on; beyond the last row it is repeated."""
    before = np.minimum(places.astype(np.int64), len(values) - 1)
    after = np.minimum(before + 1, len(values) - 1)
    share = (places - before).astype(np.float32)[:, None]
    return values[before] * (1 - share) + values[after] * share
