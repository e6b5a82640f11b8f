"""ADE20K as in the scene parsing challenge."""

from __future__ import annotations

from pathlib import Path

from recoseg.datasets.folder_layout import Layout
from recoseg.datasets.masks import counted
from recoseg.datasets.pairs import build
from recoseg.datasets.sample import SegmentationDataset
from recoseg.datasets.spaces import label_space

LAYOUT = Layout(
    "ADE20K",
    ("images/validation/<id>.jpg", "annotations/validation/<id>.png"),
    "Get ADEChallengeData2016.zip from groups.csail.mit.edu/vision/datasets/ADE20K (the challenge "
    "with 150 classes, not the full data set) and give the folder inside it.",
)
_FOLDERS = {"val": "validation", "train": "training"}


def open_ade150(root: Path, split: str = "val", ids: Path | None = None) -> SegmentationDataset:
    """The 150 classes; masks count them from 1, and 0 (everything else) is ignored."""
    space = label_space("ade150")
    folder = _FOLDERS.get(split, split)
    base = LAYOUT.base(root, ("ADEChallengeData2016",), f"images/{folder}")
    photos = LAYOUT.photos(base, base / "images" / folder)
    masks = LAYOUT.files(base, LAYOUT.folder(base, [f"annotations/{folder}"]), [".png"])
    pairs = LAYOUT.pairs(base, photos, masks, ids=ids)
    return build(space.name, split, space, pairs, counted(150, start=1))
