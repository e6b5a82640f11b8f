"""A labelled photo, and a data set of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from recoseg.datasets.label_space import LabelSpace


@dataclass(frozen=True)
class Sample:
    """One photo and its truth, read when asked for.

    Attributes:
        name: Unique in its data set, and good as a relative file name without suffix: parts
            joined by `/`, none of them `..`.
        read_image: Gives the photo, upright RGB; raises BadImageError.
        read_target: Gives the truth: (h, w) uint8 of the photo's size, labels of the scored
            classes, 255 where no measure counts; raises BadImageError.
    """

    name: str
    read_image: Callable[[], Image.Image]
    read_target: Callable[[], np.ndarray]


@dataclass(frozen=True)
class SegmentationDataset:
    """Labelled photos in a fixed order.

    Attributes:
        name: Of the data set.
        split: Which part of it.
        space: Its label space.
        samples: The photos; nothing is read until asked for.
    """

    name: str
    split: str
    space: LabelSpace
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)
