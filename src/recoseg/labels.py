"""Label maps: the ignore index, colours, and a label map with the names of its labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from recoseg.errors import RecosegError

Colour = tuple[int, int, int]
"""RGB, 0 to 255."""

IGNORE_INDEX = 255
"""Background or undecided, in label maps of up to 255 classes."""

WIDE_IGNORE_INDEX = 65535
"""The same in label maps of more classes, which are 16-bit."""


def ignore_index(classes: int) -> int:
    """The label of background: 255, or 65535 where 255 is a class."""
    if classes > WIDE_IGNORE_INDEX:
        raise RecosegError(f"Expected at most {WIDE_IGNORE_INDEX} classes; got {classes}.")
    return IGNORE_INDEX if classes <= IGNORE_INDEX else WIDE_IGNORE_INDEX


@dataclass(frozen=True)
class Segmentation:
    """A label map with the names of its labels.

    Attributes:
        labels: (h, w) at the photo's own size. uint8 with 255 for background, or, for more than
            255 classes, uint16 with 65535 for background.
        names: The class of each label.
        palette: RGB of each class.
        scores: Fused scores (c, h, w), fp16, where they were asked for.
    """

    labels: np.ndarray
    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    scores: np.ndarray | None = None

    @property
    def ignore_index(self) -> int:
        """The label of background: 255, or 65535 for more than 255 classes."""
        return ignore_index(len(self.names))

    def areas(self) -> dict[str, float]:
        """The fraction of the photo that each class covers, largest first; absent ones left out.

        Background counts as part of the photo, so the fractions may add up to less than 1.
        """
        counts = np.bincount(self.labels.ravel(), minlength=len(self.names))[: len(self.names)]
        order = sorted(range(len(self.names)), key=lambda index: (-int(counts[index]), index))
        return {
            self.names[index]: float(counts[index] / self.labels.size)
            for index in order
            if counts[index]
        }

    def to_transformers(self) -> list[dict[str, Any]]:
        """What the `image-segmentation` pipeline of transformers gives.

        Returns:
            For each class that is present, largest first: `label`, `score` (the mean fused score
            over its pixels, None where scores were not kept) and `mask` (a PIL image of mode
            `L`, 255 on the class and 0 elsewhere).
        """
        found: list[dict[str, Any]] = []
        for name in self.areas():
            index = self.names.index(name)
            mask = self.labels == index
            score = None
            if self.scores is not None:
                score = float(self.scores[index][mask].mean(dtype=np.float64))
            image = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
            found.append({"label": name, "score": score, "mask": image})
        return found
