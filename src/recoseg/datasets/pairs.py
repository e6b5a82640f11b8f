"""A data set from pairs of files, photos and masks, which are read when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from recoseg.datasets.folder_layout import Pair
from recoseg.datasets.label_space import LabelSpace
from recoseg.datasets.masks import MaskCode, decode_values, to_labels
from recoseg.datasets.sample import Sample, SegmentationDataset
from recoseg.photos.images import decode_image, upright_size
from recoseg.photos.refs import local_stamp


def build(
    name: str, split: str, space: LabelSpace, pairs: Sequence[Pair], code: MaskCode
) -> SegmentationDataset:
    """The data set of some photos with their masks.

    Args:
        name: Name of the data set.
        split: Split of the data set.
        space: Label space of the data set.
        pairs: The files.
        code: What the values of masks mean; gives labels of the scored classes.
    """
    return SegmentationDataset(
        name,
        split,
        space,
        tuple(
            Sample(
                pair.name,
                partial(decode_image, pair.photo),
                partial(read_target, pair.mask, code, pair.photo),
                partial(stamp_of, pair.photo, pair.mask),
            )
            for pair in pairs
        ),
    )


def stamp_of(*paths: Path) -> str:
    """Sizes and modification times of files; of one that cannot be accessed, `-`."""

    def stamp(path: Path) -> str:
        try:
            return local_stamp(path.stat())
        except (OSError, ValueError):
            return "-"

    return " ".join(map(stamp, paths))


def read_target(mask: Path, code: MaskCode, photo: Path) -> np.ndarray:
    """Read a mask file as labels of its photo's pixels.

    Returns:
        (h, w) uint8.

    Raises:
        BadImageError: The mask cannot be read, is not of the photo's size, or has values that are
            not labels; the text is the reason.
    """
    return to_labels(decode_values(mask, code.channel), code, upright_size(photo))
