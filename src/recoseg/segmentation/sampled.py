"""Probabilities of classes at evenly spaced pixels of a photo, for the confidence of masks."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float
from torch import Tensor

from recoseg.labels import Probabilities
from recoseg.segmentation.upsample import ALL

MOST = 16_384
"""The largest number of pixels that are taken of a photo, but for a part of a row and a column."""


class Sampler:
    """Takes probabilities out of the scores of a photo while these pass by, part by part.

    Args:
        output_hw: Size of the photo, pixels.
        classes: Number of classes in label maps.
        probabilities: From scores to the probabilities of these classes.
    """

    def __init__(
        self,
        output_hw: tuple[int, int],
        classes: int,
        probabilities: Callable[[Float[Tensor, "m r w"]], Float[np.ndarray, "c r w"]],
    ) -> None:
        height, width = output_hw
        self._step = 1 + math.isqrt((height * width - 1) // MOST)
        shape = (classes, -(-height // self._step), -(-width // self._step))
        self._values = np.zeros(shape, np.float16)
        self._probabilities = probabilities

    def see(self, start: int, scores: Float[Tensor, "m r w"], columns: slice = ALL) -> None:
        """Take what is needed of the scores of rows from `start` on, of all columns or some."""
        step, left = self._step, columns.start or 0
        own = scores[:, -start % step :: step, -left % step :: step]
        if own.numel():
            row, column = -(-start // step), -(-left // step)
            found = self._probabilities(own)
            rows, width = found.shape[1:]
            self._values[:, row : row + rows, column : column + width] = found

    def found(self) -> Probabilities:
        """The probabilities, when all scores have been seen."""
        return Probabilities(self._values, self._step)
