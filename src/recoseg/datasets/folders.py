"""Folders of photos and masks with a list of classes, in two common shapes."""

from __future__ import annotations

from pathlib import Path

from recoseg.classes import read_classes
from recoseg.datasets.folder_layout import MASK_ENDINGS, Layout
from recoseg.datasets.masks import counted
from recoseg.datasets.pairs import build
from recoseg.datasets.sample import SegmentationDataset
from recoseg.datasets.spaces import space_of

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
WHOLE = "all"
"""The split of a folder without splits."""


def open_folder(root: Path, split: str = WHOLE, ids: Path | None = None) -> SegmentationDataset:
    """Folders `images` and `masks`, which may contain a folder for each split."""
    below = "" if split == WHOLE else f"/{split}"
    return _open(FOLDER, root, split, f"images{below}", f"masks{below}", ids)


def open_mmseg(root: Path, split: str = "val", ids: Path | None = None) -> SegmentationDataset:
    """Folders `img_dir` and `ann_dir`, which contain a folder for each split."""
    return _open(MMSEG, root, split, f"img_dir/{split}", f"ann_dir/{split}", ids)


def _open(
    layout: Layout, root: Path, split: str, images: str, masks: str, ids: Path | None
) -> SegmentationDataset:
    photos = layout.photos(root, layout.folder(root, [images]))
    found = layout.files(root, layout.folder(root, [masks]), MASK_ENDINGS)
    if not (root / "classes.txt").is_file():
        raise layout.error(root, "no file classes.txt.")
    name = root.resolve().name
    space = space_of(name, name, read_classes(root / "classes.txt"))
    pairs = layout.pairs(root, photos, found, ids=ids)
    return build(name, split, space, pairs, counted(len(space.classes)))
