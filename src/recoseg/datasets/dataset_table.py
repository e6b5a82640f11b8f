"""The table of data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from recoseg.datasets import ade20k, cityscapes, coco, folders, kitti_step, pascal
from recoseg.datasets.folder_layout import Layout
from recoseg.datasets.sample import SegmentationDataset
from recoseg.datasets.spaces import SPACES, label_space
from recoseg.errors import DatasetError, OptionError, UnknownNameError
from recoseg.photos.exclusion import Exclusion

HUB = "hf:"
"""Prefix of the names of data sets on the Hugging Face Hub."""


Reader = Callable[..., SegmentationDataset]
"""Opens the data set below a root, by the folder, the split and a file with the names of the photos
to keep, or None; photos and masks are read when they are needed. Those of folders of the user's own
also take `exclude`, an `Exclusion`."""


@dataclass(frozen=True)
class DatasetRow:
    """One data set.

    Attributes:
        name: Name of the data set, and of its label space if that is fixed.
        reader: Opens it.
        layout: The folders that are expected.
        split: The split that is opened by default.
        fixed: Whether its classes are always the same.
    """

    name: str
    reader: Reader
    layout: Layout
    split: str = "val"
    fixed: bool = True


TABLE = (
    DatasetRow("cityscapes27", cityscapes.open_cityscapes27, cityscapes.LAYOUT),
    DatasetRow("cityscapes19", cityscapes.open_cityscapes19, cityscapes.LAYOUT),
    DatasetRow("kitti_step19", kitti_step.open_kitti_step19, kitti_step.LAYOUT),
    DatasetRow("cocostuff171", coco.open_cocostuff171, coco.STUFF),
    DatasetRow("cocostuff27", coco.open_cocostuff27, coco.STUFF),
    DatasetRow("coco_object", coco.open_coco_object, coco.OBJECT),
    DatasetRow("context59", pascal.open_context59, pascal.CONTEXT),
    DatasetRow("context60", pascal.open_context60, pascal.CONTEXT),
    DatasetRow("voc20", pascal.open_voc20, pascal.VOC),
    DatasetRow("voc21", pascal.open_voc21, pascal.VOC),
    DatasetRow("ade150", ade20k.open_ade150, ade20k.LAYOUT),
    DatasetRow("mmseg", folders.open_mmseg, folders.MMSEG, fixed=False),
    DatasetRow("folder", folders.open_folder, folders.FOLDER, folders.WHOLE, fixed=False),
)


def dataset_row(name: str) -> DatasetRow:
    """The row of a data set.

    Raises:
        UnknownNameError: There is no such data set; the message lists all.
    """
    for row in TABLE:
        if row.name == name:
            return row
    valid = [row.name for row in TABLE]
    raise UnknownNameError("data set", name, [*valid, f"{HUB}OWNER/NAME"])


def as_published(dataset: SegmentationDataset) -> SegmentationDataset:
    """The data set with the label space of the published code, where that has errors.

    For COCO-Stuff the published code merges three of the 171 classes into wrong groups.

    Example:
        >>> as_published(SegmentationDataset("x", "val", label_space("cocostuff27"), ())).space.name
        'cocostuff27_published'
    """
    name = f"{dataset.space.name}_published"
    return replace(dataset, space=label_space(name)) if name in SPACES else dataset


def open_dataset(
    name: str,
    root: Path | str | None = None,
    split: str | None = None,
    *,
    ids: Path | str | None = None,
    exclude: str | Iterable[str] = (),
) -> SegmentationDataset:
    """Open a data set by its name.

    Args:
        name: A row of the table, or `hf:OWNER/NAME?mask=annotation&space=ade150`; see
            `recoseg.datasets.hub.open_hub`.
        root: The folder of the data set; for `hf:` a file of classes, or None.
        split: Split of the data set; by default the usual one, mostly the validation photos.
        ids: A text file with the names of the photos to keep, one per line; not for `hf:`.
        exclude: Patterns of photos and masks of `folder` and `mmseg` that are left out, by their
            paths relative to the folders of photos and of masks; see `Exclusion`.

    Raises:
        UnknownNameError: There is no such data set.
        OptionError: No root is given.
        DatasetError: The folders are not as expected, or photos of a data set
            whose folders are fixed are to be excluded.
    """
    exclusion = Exclusion.of(exclude)
    row = None if name.startswith(HUB) else dataset_row(name)
    if exclusion.patterns and (row is None or row.fixed):
        raise DatasetError(
            f"Patterns of photos to exclude have no effect for {name}, whose photos are listed. "
            "Expected `folder` or `mmseg`; choose photos by their names (ids)."
        )
    if row is None:
        from recoseg.datasets.hub import open_hub

        if ids is not None:
            raise DatasetError("Lists of photos (ids) cannot be used with data sets of the Hub.")
        classes = None if root is None else Path(root)
        return open_hub(name.removeprefix(HUB), split or "validation", classes=classes)
    if root is None:
        raise OptionError(f"The data set {name!r} needs its folder. Name it by --root FOLDER.")
    options = {"exclude": exclusion} if exclusion.patterns else {}
    kept = None if ids is None else Path(ids)
    return row.reader(Path(root), split or row.split, kept, **options)
