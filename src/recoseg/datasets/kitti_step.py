"""KITTI-STEP: the frames of the KITTI tracking benchmark with panoptic maps."""

from __future__ import annotations

from pathlib import Path

from recoseg.datasets.folder_layout import Layout
from recoseg.datasets.masks import counted
from recoseg.datasets.pairs import build
from recoseg.datasets.sample import SegmentationDataset
from recoseg.datasets.spaces import label_space

LAYOUT = Layout(
    "KITTI-STEP",
    (
        "panoptic_maps/val/<sequence>/<frame>.png",
        "training/image_02/<sequence>/<frame>.png   (or images/val/..., or val/...)",
    ),
    "Get the left colour images of KITTI's tracking benchmark from cvlibs.net/datasets/kitti and "
    "the panoptic maps of KITTI-STEP, and put panoptic_maps beside training.",
)


def open_kitti_step19(
    root: Path, split: str = "val", ids: Path | None = None
) -> SegmentationDataset:
    """The 19 classes of Cityscapes; the panoptic maps say which sequences are in the split.

    The label is the red channel, 255 is ignored; green and blue are instances.
    """
    space = label_space("kitti_step19")
    maps = LAYOUT.folder(root, [f"panoptic_maps/{split}"])
    masks = LAYOUT.files(root, maps, [".png"])
    if not masks:
        raise LAYOUT.error(root, f"no panoptic map in {maps}.")
    photos = LAYOUT.folder(root, ["training/image_02", f"images/{split}", split])
    pairs = LAYOUT.pairs(root, LAYOUT.photos(root, photos), masks, list(masks), ids)
    return build(space.name, split, space, pairs, counted(len(space.classes), channel=0))
