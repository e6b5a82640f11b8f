"""A labelled photo, and a data set of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from recoseg.datasets.label_space import LabelSpace


@dataclass(frozen=True)
class Sample:
    """One photo and its truth, which are read when they are needed.

    Attributes:
        name: Unique in its data set, and valid as a relative file name without suffix: parts
            joined by `/`, none of them `..`.
        read_image: Reads the photo, upright RGB; raises BadImageError.
        read_target: Reads the truth: (h, w) uint8 of the photo's size, labels of the scored
            classes, 255 for pixels that are not scored; raises BadImageError.
        read_stamp: A text that changes when the photo or its truth changes, without reading them;
            by default an empty one, which never changes.
    """

    name: str
    read_image: Callable[[], Image.Image]
    read_target: Callable[[], np.ndarray]
    read_stamp: Callable[[], str] = str


@dataclass(frozen=True)
class SegmentationDataset:
    """Labelled photos in a fixed order.

    Attributes:
        name: Name of the data set.
        split: Split of the data set.
        space: Label space of the data set.
        samples: The photos; they are read when they are needed.
    """

    name: str
    split: str
    space: LabelSpace
    samples: tuple[Sample, ...]

    def __len__(self) -> int:
        return len(self.samples)
