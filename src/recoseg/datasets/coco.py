"""COCO-Stuff (171 classes, or 27 groups of them) and COCO-Object."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

from recoseg.datasets.folder_layout import Layout
from recoseg.datasets.label_space import LabelSpace
from recoseg.datasets.masks import counted, mask_code
from recoseg.datasets.pairs import build
from recoseg.datasets.sample import SegmentationDataset
from recoseg.datasets.spaces import label_space
from recoseg.labels import IGNORE_INDEX
from recoseg.photos.folder_files import files_of

_log = logging.getLogger(__name__)

STUFF = Layout(
    "COCO-Stuff",
    (
        "images/val2017/<id>.jpg",
        "stuffthingmaps/val2017/<id>.png   (or annotations/val2017/<id>.png)",
        "curated/val2017/Coco164kFull_Stuff_Coarse_7.txt   (cocostuff27: the 2,175 photos scored)",
    ),
    "Get val2017.zip from cocodataset.org and stuffthingmaps_trainval2017.zip of COCO-Stuff "
    "(github.com/nightrome/cocostuff).",
)
OBJECT = Layout(
    "COCO-Object",
    (
        "images/val2017/<id>.jpg",
        "annotations/val2017/<id>_instanceTrainIds.png   (or COCO-Stuff's <id>.png)",
    ),
    "Get the photos and masks of COCO-Stuff (github.com/nightrome/cocostuff).",
)
REMOVED: tuple[int, ...] = (11, 25, 28, 29, 44, 65, 67, 68, 70, 82, 90)
"""Values, category ids minus one, of the categories that occur in no mask (hat, mirror, ...)."""

CURATED = "Coco164kFull_Stuff_Coarse_7.txt"
"""The list of the 2,175 photos of val2017 that PiCIE, STEGO and ReCo score."""


def value_of_label() -> list[int]:
    """The value, category id minus one, of each of the 171 classes.

    Example:
        >>> value_of_label()[10:13]
        [10, 12, 13]
    """
    return [value for value in range(182) if value not in REMOVED]


def open_cocostuff171(
    root: Path, split: str = "val", ids: Path | None = None
) -> SegmentationDataset:
    """All photos of the split with 171 classes."""
    return _open_stuff(label_space("cocostuff171"), root, split, ids)


def open_cocostuff27(
    root: Path, split: str = "val", ids: Path | None = None
) -> SegmentationDataset:
    """The 27 groups; of val2017 only the curated photos if their list is below the root.

    `ids` replaces the curated list. With neither of both all photos are taken, with a warning,
    since the scores are then not those of the published protocol.
    """
    if ids is None and _year(split) == "val2017":
        ids = curated_list(root)
        if ids is None:
            _log.warning(
                "No %s below %s: all photos of val2017 are taken, not the 2,175 of the published "
                "protocol. Put PiCIE's list there, or name it by --ids.",
                f"curated/val2017/{CURATED}",
                root,
            )
    return _open_stuff(label_space("cocostuff27"), root, split, ids)


def curated_list(root: Path) -> Path | None:
    """The curated list of val2017 below a root; None if there is none.

    Raises:
        DatasetError: There are several lists, none of them with the usual name.
    """
    folder = root / "curated" / "val2017"
    if (folder / CURATED).is_file():
        return folder / CURATED
    lists = files_of(folder, "*.txt")
    if len(lists) > 1:
        raise STUFF.error(root, f"{len(lists)} lists in {folder}, none named {CURATED}.")
    return lists[0] if lists else None


def open_coco_object(
    root: Path, split: str = "val", ids: Path | None = None
) -> SegmentationDataset:
    """The 80 things and background.

    Masks `<id>_instanceTrainIds.png` have 0 for background and 1 to 80 for things. If there are
    none, COCO-Stuff's masks are read, with all stuff and all unlabelled pixels as background,
    which gives the same labels.
    """
    space = label_space("coco_object")
    photos, masks = _files(OBJECT, root, split)
    things = len(space.classes) - 1
    if _have(photos, masks, "_instanceTrainIds"):
        masks = _stripped(masks, "_instanceTrainIds")
        code = counted(things + 1)
    else:
        values = value_of_label()[:things]
        labels = {value: label for label, value in enumerate(values, start=1)}
        code = mask_code(labels, ignored=(), others=0)
    return build(space.name, split, space, OBJECT.pairs(root, photos, masks, ids=ids), code)


def _open_stuff(space: LabelSpace, root: Path, split: str, ids: Path | None) -> SegmentationDataset:
    """Masks as published, or those with train ids 0 to 170 that MMSegmentation makes of them."""
    photos, masks = _files(STUFF, root, split)
    values, removed = value_of_label(), REMOVED
    if _have(photos, masks, "_labelTrainIds") and not _have(photos, masks, ""):
        masks, values, removed = _stripped(masks, "_labelTrainIds"), list(range(171)), ()
    merge = space.merge_table()
    labels = {value: int(merge[label]) for label, value in enumerate(values)}
    code = mask_code(labels, ignored=(*removed, IGNORE_INDEX))
    return build(space.name, split, space, STUFF.pairs(root, photos, masks, ids=ids), code)


def _year(split: str) -> str:
    return split if split.endswith("2017") else f"{split}2017"


def _files(layout: Layout, root: Path, split: str) -> tuple[dict[str, Path], dict[str, Path]]:
    year = _year(split)
    photos = layout.folder(root, [f"images/{year}", year])
    choices = ("stuffthingmaps", "annotations", "stuffthingmaps_trainval2017")
    masks = layout.folder(root, [f"{choice}/{year}" for choice in choices])
    return layout.photos(root, photos), layout.files(root, masks, [".png"])


def _have(photos: Mapping[str, Path], masks: Mapping[str, Path], ending: str) -> bool:
    return any(name + ending in masks for name in photos)


def _stripped(masks: Mapping[str, Path], ending: str) -> dict[str, Path]:
    return {name.removesuffix(ending): path for name, path in masks.items() if ending in name}
