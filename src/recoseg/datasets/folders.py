"""Folders of photos and masks with a list of classes, in two common shapes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from recoseg.classes import read_classes
from recoseg.datasets.folder_layout import MASK_ENDINGS, Layout
from recoseg.datasets.masks import counted, is_black_and_white
from recoseg.datasets.pairs import build
from recoseg.datasets.sample import SegmentationDataset
from recoseg.datasets.spaces import space_of
from recoseg.photos.exclusion import Exclusion

FOLDER = Layout(
    "Folder of photos and masks",
    (
        "images/<name>.jpg   (or images/<split>/...)",
        "masks/<name>.png   (or masks/<split>/...)",
        "classes.txt",
    ),
    "A mask has its photo's size; its values are the classes in the order of classes.txt, counted "
    "from 0; 255 is not scored.",
)
MMSEG = Layout(
    "Folders in MMSegmentation's shape",
    ("img_dir/<split>/<name>.jpg", "ann_dir/<split>/<name>.png", "classes.txt"),
    FOLDER.advice,
)
_log = logging.getLogger(__name__)
_LOOKED_AT = 20  # masks

WHOLE = "all"
"""The split of a folder without splits."""


def open_folder(
    root: Path, split: str = WHOLE, ids: Path | None = None, exclude: Exclusion | None = None
) -> SegmentationDataset:
    """Folders `images` and `masks`, which may contain a folder for each split."""
    below = "" if split == WHOLE else f"/{split}"
    return _open(FOLDER, root, split, f"images{below}", f"masks{below}", ids, exclude)


def open_mmseg(
    root: Path, split: str = "val", ids: Path | None = None, exclude: Exclusion | None = None
) -> SegmentationDataset:
    """Folders `img_dir` and `ann_dir`, which contain a folder for each split."""
    return _open(MMSEG, root, split, f"img_dir/{split}", f"ann_dir/{split}", ids, exclude)


def warn_of_black_and_white(masks: Sequence[Path]) -> None:
    """Log a warning where some masks, evenly spaced, hold nothing but 0 and 255."""
    step = max(1, len(masks) // _LOOKED_AT)  # the first ones often are of one class
    if is_black_and_white(masks[::step][:_LOOKED_AT]):
        _log.warning(
            "The masks hold only the values 0 and 255, such as %s; 255 stands for pixels without a "
            "label, so that the first class is the only one. If white means the second class, "
            "write 1 instead of 255.",
            masks[0],
        )


def _open(
    layout: Layout,
    root: Path,
    split: str,
    images: str,
    masks: str,
    ids: Path | None,
    exclude: Exclusion | None,
) -> SegmentationDataset:
    photos = layout.photos(root, layout.folder(root, [images]), exclude)
    found = layout.files(root, layout.folder(root, [masks]), MASK_ENDINGS, exclude)
    if not (root / "classes.txt").is_file():
        raise layout.error(root, "no file classes.txt.")
    name = root.resolve().name
    space = space_of(name, name, read_classes(root / "classes.txt"))
    pairs = layout.pairs(root, photos, found, ids=ids)
    warn_of_black_and_white([pair.mask for pair in pairs])
    return build(name, split, space, pairs, counted(len(space.classes)))
