"""Cityscapes, fine annotations."""

from __future__ import annotations

from pathlib import Path

from recoseg.datasets.folder_layout import Layout
from recoseg.datasets.masks import mask_code
from recoseg.datasets.pairs import build
from recoseg.datasets.sample import SegmentationDataset
from recoseg.datasets.spaces import label_space

LAYOUT = Layout(
    "Cityscapes",
    (
        "leftImg8bit/val/<city>/*_leftImg8bit.png",
        "gtFine/val/<city>/*_gtFine_labelIds.png",
    ),
    "Get leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip from cityscapes-dataset.com "
    "and unpack both into one folder.",
)
FIRST_ID = 7
"""The label id of road, the first of the 27 classes."""


def open_cityscapes27(
    root: Path, split: str = "val", ids: Path | None = None
) -> SegmentationDataset:
    """All 27 classes: the label is the label id minus 7; all other ids are ignored."""
    return _open("cityscapes27", root, split, ids)


def open_cityscapes19(
    root: Path, split: str = "val", ids: Path | None = None
) -> SegmentationDataset:
    """The 19 classes of the benchmark, its train ids; all other ids are ignored."""
    return _open("cityscapes19", root, split, ids)


def _open(name: str, root: Path, split: str, ids: Path | None) -> SegmentationDataset:
    space = label_space(name)
    all_names = label_space("cityscapes27").names
    code = mask_code(
        {FIRST_ID + all_names.index(item): label for label, item in enumerate(space.names)},
        ignored=range(256),
    )
    photos = LAYOUT.folder(root, [f"leftImg8bit/{split}"])
    masks = LAYOUT.folder(root, [f"gtFine/{split}"])
    pairs = LAYOUT.pairs(
        root,
        _named(root, photos, "_leftimg8bit.png"),
        LAYOUT.files(root, masks, ["_gtfine_labelids.png"]),
        ids=ids,
    )
    return build(name, split, space, pairs, code)


def _named(root: Path, folder: Path, ending: str) -> dict[str, Path]:
    found = LAYOUT.files(root, folder, [ending])
    if not found:
        raise LAYOUT.error(root, f"no photo in {folder}.")
    return found
