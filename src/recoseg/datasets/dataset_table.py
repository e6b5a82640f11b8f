"""The table of data sets by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from recoseg.datasets import ade20k, cityscapes, coco, folders, kitti_step, pascal
from recoseg.datasets.folder_layout import Layout
from recoseg.datasets.sample import SegmentationDataset
from recoseg.datasets.spaces import SPACES, label_space
from recoseg.errors import DatasetError, UnknownNameError

HUB = "hf:"
"""How the names of data sets of the Hugging Face Hub begin."""


class Reader(Protocol):
    """Opens a data set; photos and masks are read when asked for."""

    def __call__(self, root: Path, split: str, ids: Path | None = None) -> SegmentationDataset:
        """Open the data set below a root.

        Args:
            root: The folder that the reader's `Layout` is about.
            split: Which part.
            ids: A file with the names of the photos to keep; None keeps all.

        Raises:
            DatasetError: Folders or files are not as expected.
        """
        ...


@dataclass(frozen=True)
class Entry:
    """One row.

    Attributes:
        name: What the data set is asked for by; where it has a fixed label space, also its name.
        reader: Opens it.
        layout: The folders expected.
        split: Which part is opened by default.
        fixed: Whether its classes are known beforehand.
    """

    name: str
    reader: Reader
    layout: Layout
    split: str = "val"
    fixed: bool = True


TABLE = (
    Entry("cityscapes27", cityscapes.open_cityscapes27, cityscapes.LAYOUT),
    Entry("cityscapes19", cityscapes.open_cityscapes19, cityscapes.LAYOUT),
    Entry("kitti_step19", kitti_step.open_kitti_step19, kitti_step.LAYOUT),
    Entry("cocostuff171", coco.open_cocostuff171, coco.STUFF),
    Entry("cocostuff27", coco.open_cocostuff27, coco.STUFF),
    Entry("coco_object", coco.open_coco_object, coco.OBJECT),
    Entry("context59", pascal.open_context59, pascal.CONTEXT),
    Entry("context60", pascal.open_context60, pascal.CONTEXT),
    Entry("voc20", pascal.open_voc20, pascal.VOC),
    Entry("voc21", pascal.open_voc21, pascal.VOC),
    Entry("ade150", ade20k.open_ade150, ade20k.LAYOUT),
    Entry("mmseg", folders.open_mmseg, folders.MMSEG, fixed=False),
    Entry("folder", folders.open_folder, folders.FOLDER, folders.WHOLE, fixed=False),
)


def entry(name: str) -> Entry:
    """The row of a data set.

    Raises:
        UnknownNameError: There is none of that name.
    """
    for row in TABLE:
        if row.name == name:
            return row
    valid = [row.name for row in TABLE]
    raise UnknownNameError("data set", name, [*valid, f"{HUB}OWNER/NAME"])


def as_published(dataset: SegmentationDataset) -> SegmentationDataset:
    """The data set with the published code's label space, where that errs; else as it is.

    For COCO-Stuff the published code merges three of the 171 classes into wrong groups.

    Example:
        >>> as_published(SegmentationDataset("x", "val", label_space("cocostuff27"), ())).space.name
        'cocostuff27_published'
    """
    name = f"{dataset.space.name}_published"
    return replace(dataset, space=label_space(name)) if name in SPACES else dataset


def open_dataset(
    name: str, root: Path | str | None = None, split: str | None = None, *, ids: Path | None = None
) -> SegmentationDataset:
    """Open a data set by name.

    Args:
        name: A row of the table, or `hf:OWNER/NAME?mask=annotation&space=ade150`; see
            `recoseg.datasets.hub.open_hub`.
        root: The folder that holds it; for `hf:` a file of classes, or None.
        split: Which part; None is the usual one, most often the validation photos.
        ids: A text file with the names of the photos to keep, one per line; not for `hf:`.

    Raises:
        UnknownNameError: There is no data set of that name.
        DatasetError: No root is given, or the folders are not as expected.
    """
    if name.startswith(HUB):
        from recoseg.datasets.hub import open_hub

        if ids is not None:
            raise DatasetError("Lists of photos (ids) cannot be used with data sets of the Hub.")
        classes = None if root is None else Path(root)
        return open_hub(name.removeprefix(HUB), split or "validation", classes=classes)
    row = entry(name)
    if root is None:
        raise DatasetError(f"The data set {name!r} needs the folder that holds it; none is given.")
    return row.reader(Path(root), split or row.split, ids)
