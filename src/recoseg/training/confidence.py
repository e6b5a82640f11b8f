"""How confident a segmenter is at each pixel, and which pixels are ignored in training.

The confidence of a pixel is the softmax over the classes of the fused scores, divided by the
temperature of refinement, at the pixel's label. It is the probability that refinement starts from,
so both use the same temperature. Unlike the best score it lies between 0 and 1 for every fusion,
and unlike the margin between the two best scores it falls when many classes compete. Where
refinement changes the label of a pixel, the confidence is that of the new label, which is low.

Confidence is stored in 8 bits: level q means q / 255. All limits below are levels, so that they can
be computed and applied exactly from the files alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image

from recoseg.errors import OptionError
from recoseg.labels import IGNORE_INDEX, Segmentation
from recoseg.writers.formats import FilePerPhoto, encode_png
from recoseg.writers.protocol import Writer

LEVELS = 256
_MOST = 4_000_000  # scores that are turned into probabilities at a time


@dataclass(frozen=True)
class Ignoring:
    """Which pixels are ignored; with both limits, pixels below either of them.

    Attributes:
        threshold: Pixels with less confidence are ignored, 0 to 1; None for no threshold.
        quantile: At most this fraction of the pixels of each class is ignored, the least
            confident first, 0 to less than 1; None for no quantile.
    """

    threshold: float | None = None
    quantile: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise OptionError(f"The confidence is {self.threshold}; expected 0 to 1.")
        if self.quantile is not None and not 0 <= self.quantile < 1:
            raise OptionError(f"The quantile is {self.quantile}; expected 0 to less than 1.")

    @property
    def idle(self) -> bool:
        """Whether no pixel is ignored."""
        return self.threshold is None and self.quantile is None

    def levels(self, histogram: Int64[np.ndarray, "c 256"]) -> Int64[np.ndarray, " c"]:
        """For each class the lowest level that is kept.

        Args:
            histogram: Pixels of each class at each level, from `level_histogram`.
        """
        least = np.zeros(len(histogram), np.int64)
        if self.threshold is not None:
            least = np.maximum(least, threshold_level(self.threshold))
        if self.quantile is not None:
            least = np.maximum(least, quantile_levels(histogram, self.quantile))
        return least


def confidence_map(
    scores: np.ndarray, labels: np.ndarray, temperature: float
) -> UInt8[np.ndarray, "h w"]:
    """The confidence of each pixel in its label, in levels.

    Args:
        scores: Fused scores (c, h, w), before refinement.
        labels: Labels (h, w); background gets 0.
        temperature: The scores are divided by this; more than 0.

    Example:
        >>> scores = np.array([[[0.0, 0.0]], [[0.1, 0.1]]])
        >>> confidence_map(scores, np.array([[1, 255]], np.uint8), 0.05).tolist()
        [[225, 0]]
    """
    classes, height, width = scores.shape
    found = np.zeros((height, width), np.uint8)
    step = max(1, _MOST // max(1, classes * width))
    for start in range(0, height, step):
        rows = slice(start, start + step)
        chosen = torch.from_numpy(labels[rows].astype(np.int64))
        logits = torch.from_numpy(np.ascontiguousarray(scores[:, rows])).float() / temperature
        probs = logits.softmax(0).gather(0, chosen.clamp(max=classes - 1)[None])[0]
        levels = torch.where(chosen < classes, (probs * (LEVELS - 1)).round(), 0)
        found[rows] = levels.to(torch.uint8).numpy()
    return found


def confidence_maps(temperature: float) -> Writer:
    """A writer of confidence maps, 8 bits, as PNG; see `confidence_map`.

    Args:
        temperature: The scores are divided by this; segmentations must have kept their scores.
    """

    def encode(_: Image.Image, found: Segmentation) -> bytes:
        if found.scores is None:
            raise ValueError("No scores were kept. Segment with keep_scores=True.")
        levels = confidence_map(found.scores, found.labels, temperature)
        return encode_png(Image.fromarray(levels))

    return FilePerPhoto("confidence", ".png", encode, {"confidence_temperature": temperature})


def level_histogram(
    labels: np.ndarray, levels: np.ndarray, classes: int
) -> Int64[np.ndarray, "c 256"]:
    """Number of pixels of each class at each level; background does not count."""
    counted = labels < classes
    flat = labels[counted].astype(np.int64) * LEVELS + levels[counted]
    return np.bincount(flat, minlength=classes * LEVELS).reshape(classes, LEVELS)


def threshold_level(threshold: float) -> int:
    """The lowest level whose confidence q / 255 is not below the threshold.

    Example:
        >>> threshold_level(0.5), threshold_level(0.0), threshold_level(1.0)
        (128, 0, 255)
    """
    # Rounded first, so that a threshold written as q / 255 is level q.
    return math.ceil(round(threshold * (LEVELS - 1), 9))


def quantile_levels(
    histogram: Int64[np.ndarray, "c 256"], fraction: float
) -> Int64[np.ndarray, " c"]:
    """For each class the highest level below which at most this fraction of its pixels is.

    Pixels at that level are all kept; a class without pixels gets 0.

    Example:
        >>> counts = np.zeros((1, 256), np.int64)
        >>> counts[0, [10, 20, 30]] = [1, 2, 7]
        >>> [int(quantile_levels(counts, f)[0]) for f in (0.05, 0.1, 0.3)]
        [10, 20, 30]
    """
    total = histogram.sum(1)
    below = np.cumsum(histogram, 1) - histogram
    highest = (below <= fraction * total[:, None]).sum(1) - 1
    return np.where(total > 0, np.minimum(highest, _top(histogram)), 0)


def _top(histogram: np.ndarray) -> np.ndarray:
    """The highest level that occurs in each class."""
    return LEVELS - 1 - (histogram[:, ::-1] > 0).argmax(1)


def ignore_below(
    labels: UInt8[np.ndarray, "h w"], levels: UInt8[np.ndarray, "h w"], least: np.ndarray
) -> UInt8[np.ndarray, "h w"]:
    """Set labels to 255 where the level is below the lowest that is kept for the class.

    Example:
        >>> row = np.array([[0, 0, 1, 255]], np.uint8)
        >>> ignore_below(row, np.array([[9, 10, 9, 0]], np.uint8), np.array([10, 0])).tolist()
        [[255, 0, 1, 255]]
    """
    limit = np.zeros(LEVELS, np.int64)
    limit[: len(least)] = least
    return np.where(levels < limit[labels], np.uint8(IGNORE_INDEX), labels)
