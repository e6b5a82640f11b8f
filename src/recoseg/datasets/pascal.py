"""PASCAL VOC 2012 and PASCAL-Context, each with and without background."""

from __future__ import annotations

from pathlib import Path

from recoseg.datasets.folder_layout import Layout
from recoseg.datasets.masks import MaskCode, counted
from recoseg.datasets.pairs import build
from recoseg.datasets.sample import SegmentationDataset
from recoseg.datasets.spaces import label_space

VOC = Layout(
    "PASCAL VOC 2012",
    (
        "JPEGImages/<id>.jpg",
        "SegmentationClass/<id>.png",
        "ImageSets/Segmentation/val.txt",
    ),
    "Get VOCtrainval_11-May-2012.tar from host.robots.ox.ac.uk/pascal/VOC/voc2012; give the folder "
    "VOC2012 or one that contains VOCdevkit.",
)
CONTEXT = Layout(
    "PASCAL-Context",
    (
        "JPEGImages/<id>.jpg",
        "SegmentationClassContext/<id>.png",
        "ImageSets/SegmentationContext/val.txt",
    ),
    "Get VOCtrainval_03-May-2010.tar from host.robots.ox.ac.uk/pascal/VOC/voc2010 and the labels "
    "from cs.stanford.edu/~roozbeh/pascal-context, and convert them to masks of 59 classes with "
    "MMSegmentation's converter; give the folder VOC2010 or one that contains VOCdevkit.",
)


def open_voc20(root: Path, split: str = "val", ids: Path | None = None) -> SegmentationDataset:
    """VOC's 20 classes; background and the borders of objects are ignored."""
    return _open_voc("voc20", root, split, ids, counted(20, start=1))


def open_voc21(root: Path, split: str = "val", ids: Path | None = None) -> SegmentationDataset:
    """VOC's 20 classes and background; the borders of objects are ignored."""
    return _open_voc("voc21", root, split, ids, counted(21))


def open_context59(root: Path, split: str = "val", ids: Path | None = None) -> SegmentationDataset:
    """Context's 59 classes; background is ignored."""
    return _open_context("context59", root, split, ids, counted(59, start=1))


def open_context60(root: Path, split: str = "val", ids: Path | None = None) -> SegmentationDataset:
    """Context's 59 classes and background."""
    return _open_context("context60", root, split, ids, counted(60))


def _open_voc(
    name: str, root: Path, split: str, ids: Path | None, code: MaskCode
) -> SegmentationDataset:
    base = VOC.base(root, ("VOC2012", "VOCdevkit/VOC2012"), "SegmentationClass")
    return _open(VOC, name, base, "SegmentationClass", "Segmentation", split, ids, code)


def _open_context(
    name: str, root: Path, split: str, ids: Path | None, code: MaskCode
) -> SegmentationDataset:
    folder = "SegmentationClassContext"
    base = CONTEXT.base(root, ("VOC2010", "VOCdevkit/VOC2010"), folder)
    return _open(CONTEXT, name, base, folder, "SegmentationContext", split, ids, code)


def _open(
    layout: Layout,
    name: str,
    base: Path,
    masks: str,
    lists: str,
    split: str,
    ids: Path | None,
    code: MaskCode,
) -> SegmentationDataset:
    names = layout.listed(base, base / "ImageSets" / lists / f"{split}.txt")
    photos = layout.photos(base, layout.folder(base, ["JPEGImages"]))
    found = layout.files(base, layout.folder(base, [masks]), [".png"])
    return build(
        name, split, label_space(name), layout.pairs(base, photos, found, names, ids), code
    )
