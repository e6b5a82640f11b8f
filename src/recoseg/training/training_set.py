"""Training sets: photos with masks, from pseudo-labels, two folders, or a data set."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image

from recoseg.classes import read_classes
from recoseg.datasets.folder_layout import MASK_ENDINGS
from recoseg.datasets.folders import FOLDER, warn_of_black_and_white
from recoseg.datasets.masks import counted, decode_values, to_labels
from recoseg.datasets.sample import Sample, SegmentationDataset
from recoseg.drawing.palette import default_palette
from recoseg.errors import BadImageError, DatasetError, FileError
from recoseg.formats.reading.masks import FormatMasks
from recoseg.formats.reading.open_format import open_format
from recoseg.labels import IGNORE_INDEX, Colour
from recoseg.photos import files
from recoseg.photos.images import decode_image
from recoseg.photos.reading import read_photo
from recoseg.photos.refs import Photo, composed
from recoseg.progress import track
from recoseg.storage.checksums import checksum
from recoseg.storage.counts import count_of
from recoseg.storage.paths import inside
from recoseg.storage.reading import read_bytes
from recoseg.training.format_masks import format_photos
from recoseg.training.moved_photos import photo_paths
from recoseg.training.pseudo_labels import MANIFEST, PseudoLabels

_log = logging.getLogger(__name__)

FULL = 255
"""Level of full confidence."""

Read = tuple[Image.Image, np.ndarray, np.ndarray]
"""A photo, its labels and their confidence in levels, both (h, w) uint8."""


class TrainingPhoto(Protocol):
    """A photo with its mask, which are read when they are needed."""

    @property
    def name(self) -> str:
        """Name in messages."""

    def read(self) -> Read:
        """Read photo, labels and confidence; raises BadImageError."""


@dataclass(frozen=True)
class FilePhoto:
    """A photo and its mask as files.

    Attributes:
        name: Name in messages.
        photo: A path, URL or `shard.tar::member`.
        mask: File of the mask: values are labels, 255 is ignored.
        classes: Number of classes.
        confidence: File of the confidence map, 8 bits, value / 255; None for full confidence.
        checksums: Recorded checksums of `labels` and `confidence`, which are checked; a file
            without one is not.
    """

    name: str
    photo: str
    mask: Path
    classes: int
    confidence: Path | None = None
    checksums: Mapping[str, str] = field(default_factory=dict)

    def read(self) -> Read:
        """See `TrainingPhoto`."""
        image = decode_image(read_photo(Photo(self.photo)))
        size = (image.height, image.width)
        values = decode_values(_bytes(self.mask, self.checksums.get("labels")))
        labels = to_labels(values, counted(self.classes), size)
        if self.confidence is None:
            return image, labels, np.full(size, FULL, np.uint8)
        levels = decode_values(_bytes(self.confidence, self.checksums.get("confidence")))
        if levels.shape != size or levels.dtype != np.uint8:
            raise BadImageError(
                f"its confidence map is {levels.shape} of {levels.dtype}; expected {size} of uint8"
            )
        return image, labels, levels


@dataclass(frozen=True)
class SamplePhoto:
    """A photo of a labelled data set.

    Attributes:
        sample: The photo and its truth.
    """

    sample: Sample

    @property
    def name(self) -> str:
        """Name in the data set."""
        return self.sample.name

    def read(self) -> Read:
        """See `TrainingPhoto`."""
        image, labels = self.sample.read_image(), self.sample.read_target()
        return image, labels, np.full(labels.shape, FULL, np.uint8)


@dataclass(frozen=True)
class TrainingSet:
    """Photos with masks, and the classes of their labels.

    Attributes:
        names: The class of each label.
        palette: RGB of each class.
        photos: The photos.
        provenance: Where the masks come from, as JSON fields.
        content: Checksum of labels and confidence of all photos, from `readable`; empty if they
            have not been read.
        background: The label of the class that stands for background; None if there is none.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    photos: tuple[TrainingPhoto, ...]
    provenance: Mapping[str, Any]
    content: str = ""
    background: int | None = None

    @property
    def fingerprint(self) -> str:
        """16 hex digits computed from classes, names of photos, masks and provenance."""
        named: list[object] = [self.names, [photo.name for photo in self.photos]]
        named += [dict(self.provenance), *([self.content] if self.content else [])]
        named += [] if self.background is None else [{"background": self.background}]
        return hashlib.sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()[:16]


def pseudo_labelled(folder: Path, images: Path | None = None) -> TrainingSet:
    """The training set in a folder that `recoseg pseudo-label` has written.

    Args:
        folder: The folder.
        images: Folder of the photos if they have been moved; None if not, or if both have been
            moved together; see `photo_paths`.

    Raises:
        RecosegError: The folder's manifest is missing or damaged, or names a file outside of it.
        DatasetError: A photo is not among the images, or several of them fit equally.
    """
    found = PseudoLabels.read(folder)
    photos = []
    for item, path in zip(found.photos, photo_paths(found.photos, folder, images), strict=True):
        photos.append(
            FilePhoto(
                composed(Path(item.labels).stem),
                path,
                inside(folder, item.labels),
                len(found.names),
                None if item.confidence is None else inside(folder, item.confidence),
                item.checksums,
            )
        )
    return TrainingSet(
        found.names,
        found.palette,
        tuple(photos),
        {"pseudo": found.provenance},
        background=found.background_label,
    )


def in_folders(images: Path, masks: Path) -> TrainingSet:
    """The training set of a folder of photos and a folder of masks with the same names.

    `classes.txt` is in the folder of masks or beside it. Photos without a mask are left out.

    Raises:
        DatasetError: There are no pairs, or no list of classes.
    """
    photos = FOLDER.photos(images, images)
    found = FOLDER.files(masks, masks, MASK_ENDINGS)
    lists = [path for path in (masks, masks.parent) if (path / "classes.txt").is_file()]
    if not lists:
        raise DatasetError(f"No file classes.txt in {masks} or beside it; one class per line.")
    names = tuple(words.name for words in read_classes(lists[0] / "classes.txt"))
    if len(names) > IGNORE_INDEX:
        raise DatasetError(f"Expected at most {IGNORE_INDEX} classes; got {len(names)}.")
    pairs = tuple(
        FilePhoto(name, str(photo), found[name], len(names))
        for name, photo in photos.items()
        if name in found
    )
    alone = [name for name in photos if name not in found]
    if alone and pairs:
        number = count_of(len(alone), "photos", "have")
        _log.warning("Left out: %s no mask: %s", number, ", ".join(alone[:5]))
    if not pairs:
        raise DatasetError(
            f"None of {count_of(len(photos), 'photos')} in {images} has a mask in {masks}. "
            "Expected NAME.png for NAME.jpg."
        )
    warn_of_black_and_white([pair.mask for pair in pairs])
    return TrainingSet(names, default_palette(len(names)), pairs, {"masks": str(masks)})


def open_masks(masks: Path, images: Path | None = None) -> TrainingSet:
    """The training set of a folder of masks: pseudo-labels, or masks of a folder of photos.

    Masks in the format of another tool (see `open_format`) have their photos beside them, or in the
    folder of photos that is given.

    A folder `labels` of pseudo-labels is recognised by its parent.

    Raises:
        DatasetError: There are no pseudo-labels and no folder of photos is given.
    """
    for folder in (masks, masks.parent) if masks.name == "labels" else (masks,):
        if (folder / MANIFEST).is_file():
            return pseudo_labelled(folder, images)
    found = open_format(masks) if masks.exists() else None
    if found is not None:
        return _of_format(found, images)
    if images is None:
        raise DatasetError(
            f"No pseudo-labels were found at {masks} ({MANIFEST}). Name a folder that `recoseg "
            "pseudo-label` has written; for other masks give their photos, too: --images."
        )
    return in_folders(images, masks)


def _of_format(found: FormatMasks, images: Path | None) -> TrainingSet:
    if len(found.names) > IGNORE_INDEX:
        raise DatasetError(f"Expected at most {IGNORE_INDEX} classes; got {len(found.names)}.")
    photos = format_photos(found, images)
    kept = {photo.name for photo in photos}
    alone = [name for name in found.read if name not in kept]
    if alone:
        _log.warning("Left out: %s masks have no photo: %s", len(alone), ", ".join(alone[:5]))
    provenance = {"masks": str(found.location), "format": found.form}
    return TrainingSet(found.names, default_palette(len(found.names)), photos, provenance)


def of_dataset(dataset: SegmentationDataset) -> TrainingSet:
    """The labelled photos of a data set.

    Raises:
        DatasetError: The data set has no photo.
    """
    space = dataset.space
    photos = tuple(SamplePhoto(sample) for sample in dataset.samples)
    if not photos:
        raise DatasetError(f"The split {dataset.split!r} of {dataset.name} has no photo.")
    provenance = {"dataset": dataset.name, "split": dataset.split}
    return TrainingSet(tuple(space.scored), tuple(space.palette), photos, provenance)


def readable(
    data: TrainingSet, progress: bool | None = False
) -> tuple[TrainingSet, dict[str, str]]:
    """Read all photos once, and leave out those that cannot be trained on.

    Returns:
        The training set without them, with the checksum of its masks, and the reason for each.

    Raises:
        DatasetError: No photo is left.
    """

    def check(photo: TrainingPhoto) -> tuple[str | None, str]:
        try:
            _, labels, levels = photo.read()
        except BadImageError as error:
            return str(error), ""
        if (labels == IGNORE_INDEX).all():
            return "no pixel of its mask has a label", ""
        return None, checksum(repr(labels.shape).encode() + labels.tobytes() + levels.tobytes())

    with ThreadPoolExecutor() as pool:
        found = list(
            track(
                pool.map(check, data.photos),
                "Checking",
                total=len(data.photos),
                enabled=progress,
            )
        )
    paired = list(zip(data.photos, found, strict=True))
    failures = {photo.name: why for photo, (why, _) in paired if why is not None}
    kept = tuple(photo for photo, (why, _) in paired if why is None)
    content = checksum("".join(digest for _, (_, digest) in paired).encode())
    if not kept:
        name, why = next(iter(failures.items()), ("", "the set is empty"))
        raise DatasetError(
            f"None of {count_of(len(data.photos), 'photos')} can be trained on. The first, "
            f"{name}: {why}. If the photos have moved, say where they are now: --images."
        )
    return replace(data, photos=kept, content=content), failures


def _bytes(path: Path, expected: str | None) -> bytes:
    try:
        data = read_bytes(path, files.MAX_BYTES)
    except FileError as error:
        raise BadImageError(str(error).rstrip(".")) from error
    if expected is not None and checksum(data) != expected:
        raise BadImageError(f"{path} is damaged: it does not have its recorded checksum")
    return data
