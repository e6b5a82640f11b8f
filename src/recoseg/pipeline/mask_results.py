"""Label maps that are there already, with their photos: what formats are written from."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from recoseg.classes import read_classes
from recoseg.datasets.folder_layout import MASK_ENDINGS
from recoseg.datasets.folders import FOLDER
from recoseg.datasets.masks import decode_values
from recoseg.drawing.palette import palette_of
from recoseg.drawing.report import LONG_SIDE
from recoseg.errors import BadImageError, DatasetError, FileError, MissingFileError
from recoseg.formats.reading.masks import FormatMasks
from recoseg.formats.reading.open_format import open_format
from recoseg.labels import Colour, InstanceMap, Segmentation, ignore_index, label_dtype
from recoseg.photos import files
from recoseg.photos.images import decode_reduced
from recoseg.photos.reading import read_photo
from recoseg.photos.refs import Photo
from recoseg.rasters.label_files import RASTER, read_label_raster
from recoseg.segmentation.verify import check_labels
from recoseg.storage.checksums import check_file, checksum
from recoseg.storage.claim import format_in
from recoseg.storage.paths import inside
from recoseg.storage.reading import read_bytes
from recoseg.training.format_masks import photos_of
from recoseg.training.moved_photos import photo_paths
from recoseg.training.pseudo_labels import FORMAT as PSEUDO_LABELS
from recoseg.training.pseudo_labels import PseudoLabelled, PseudoLabels
from recoseg.video.output import IDENTITIES
from recoseg.writers.folder import CLASSES, read_segmentations
from recoseg.writers.folder import FORMAT as MASKS
from recoseg.writers.instances import INSTANCES, read_instances

_GREY = (110, 110, 110)


@dataclass(frozen=True)
class MaskResult:
    """A photo and the file of its label map.

    Attributes:
        name: The name of the photo without suffix, unique, with `/` between folders.
        photo: Path of the photo.
        mask: Path of the label map; None if there is none.
        checksum: The recorded checksum of the label map; None if none was recorded.
        failure: Why the photo has no label map; empty if it has one.
        decode: Reads the label map from the file where that has another format than PNG.
        has_photo: Whether it is known where the photo is; if not, `photo` is its name.
        instances: The file of its instances; None if only connected parts are known.
        instances_checksum: The recorded checksum of that file.
        scores: The score of each instance; empty where they are not known.
    """

    name: str
    photo: str
    mask: Path | None
    checksum: str | None = None
    failure: str = ""
    decode: Callable[[], np.ndarray] | None = None
    has_photo: bool = True
    instances: Path | None = None
    instances_checksum: str | None = None
    scores: tuple[float, ...] = ()

    def read(self, classes: int) -> np.ndarray:
        """The label map (h, w): uint8, or uint16 for more than 255 classes.

        Raises:
            BadImageError: It is missing or damaged, or has labels that are no class; the text is
                the reason.
        """
        if self.decode is not None:
            return self.decode()
        if self.mask is None:
            raise BadImageError(self.failure)
        try:
            if self.is_raster:
                return self._read_raster(self.mask, classes)
            data = read_bytes(self.mask, files.MAX_BYTES)
            if self.checksum is not None and checksum(data) != self.checksum:
                raise FileError(
                    f"{self.mask} is damaged: it does not have the checksum that was recorded "
                    "when it was written"
                )
            values = decode_values(data)
            check_labels(values, classes, self.mask)
        except FileError as error:
            raise BadImageError(str(error).rstrip(".")) from error
        return values.astype(label_dtype(ignore_index(classes)))

    def read_instances(self, labels: np.ndarray) -> InstanceMap | None:
        """Its instances; None if only connected parts are known.

        Args:
            labels: Its label map.

        Raises:
            BadImageError: The file is missing or damaged; the text is the reason.
        """
        if self.instances is None:
            return None
        try:
            numbers = read_instances(self.instances, self.instances_checksum)
        except FileError as error:
            raise BadImageError(str(error).rstrip(".")) from error
        if numbers.shape != labels.shape:
            raise BadImageError(f"{self.instances} has another size than the label map")
        return InstanceMap(numbers, self.scores)

    @property
    def is_raster(self) -> bool:
        """Whether the label map is that of a raster, which may be of any size."""
        return self.mask is not None and self.mask.suffix == RASTER and self.decode is None

    @property
    def located(self) -> Path | None:
        """The file that says where the photo lies on the earth; None if there is none."""
        path = self.mask if self.is_raster else Path(self.photo)
        return path if path is not None and path.is_file() else None

    def _read_raster(self, path: Path, classes: int) -> np.ndarray:
        if self.checksum is not None:
            check_file(path, self.checksum)
        values = read_label_raster(path)
        check_labels(values, classes, path)
        return values


@dataclass(frozen=True)
class MaskResults:
    """Label maps of many photos.

    Attributes:
        names: The class of each label.
        palette: RGB of each class.
        photos: The photos, sorted by their names.
        failures: What else is wrong, by what it is about.
    """

    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    photos: tuple[MaskResult, ...]
    failures: Mapping[str, str] = field(default_factory=dict)

    def without_instances(self) -> MaskResults:
        """The same, of which only connected parts are known."""
        return replace(self, photos=tuple(replace(one, instances=None) for one in self.photos))


def open_results(masks: Path, images: Path | None = None) -> MaskResults:
    """The label maps in a folder.

    Args:
        masks: A folder that `recoseg segment` or `recoseg pseudo-label` has written, the folder
            `labels` in it, masks in the format of another tool (see `open_format`), or any folder
            of masks with `classes.txt` in it or beside it.
        images: Where the photos are now, if they have been moved; for any folder of masks the
            photos with the same names.

    Raises:
        MissingFileError: There is no such folder.
        DatasetError: It holds no masks, or a photo is not among the images.
    """
    if not masks.exists():
        raise MissingFileError(f"No folder of masks was found at {masks}.")
    given = open_format(masks)
    if given is not None:
        return _sorted(_of_format(given, images))
    if not masks.is_dir():
        raise DatasetError(
            f"{masks} is not a file of masks. Expected JSON, XML, YAML, or "
            "a folder, such as that of the GeoPackages or GeoTIFFs."
        )
    for folder in (masks, masks.parent) if masks.resolve().name == "labels" else (masks,):
        form = format_in(folder)
        if form == MASKS:
            return _sorted(_segmented(folder, images))
        if form == PSEUDO_LABELS:
            return _sorted(_pseudo_labelled(folder, images))
    if images is None:
        raise DatasetError(
            f"{masks} holds no masks that `recoseg segment` wrote. For other masks name the folder "
            "of their photos, too: --images."
        )
    return _sorted(_in_folders(masks, images))


def open_maps(masks: Path, images: Path | None = None) -> MaskResults:
    """As `open_results`, but the photos of a folder of NAME.png need not be known."""
    own = format_in(masks) or format_in(masks.parent) or open_format(masks)
    if images is not None or not masks.is_dir() or own:
        return open_results(masks, images)
    folder = masks / "labels" if (masks / "labels").is_dir() else masks
    found = FOLDER.files(folder, folder, MASK_ENDINGS)
    if not found:
        raise DatasetError(
            f"{masks} holds no masks. Expected a folder of `recoseg segment`, masks in a format of "
            "`recoseg convert`, or NAME.png with classes.txt."
        )
    names = _names_beside(folder)
    photos = tuple(MaskResult(name, name, path, has_photo=False) for name, path in found.items())
    return _sorted(MaskResults(names, palette_of(names), photos))


def small_photo(items: Sequence[MaskResult], found: Segmentation) -> Image.Image:
    """A photo for small pictures, where one of its masks knows where it is.

    Args:
        items: The masks of the photo.
        found: One of its label maps; gives the size of the grey picture that stands for a photo
            that cannot be read.
    """
    for item in items:
        if item.has_photo:
            with contextlib.suppress(BadImageError):
                photo, _ = decode_reduced(read_photo(Photo(item.photo)), LONG_SIDE)
                photo.thumbnail((LONG_SIDE, LONG_SIDE), Image.Resampling.LANCZOS)
                return photo
    return Image.new("RGB", found.labels.shape[::-1], _GREY)


def _sorted(found: MaskResults) -> MaskResults:
    if not found.photos:
        raise DatasetError("No masks were found. Expected those of at least one photo.")
    photos = tuple(sorted(found.photos, key=lambda photo: photo.name))
    return MaskResults(found.names, found.palette, photos, found.failures)


def _segmented(folder: Path, images: Path | None) -> MaskResults:
    """The masks of `recoseg segment`."""
    done: list[PseudoLabelled] = []
    things: list[dict[str, Any]] = []
    failures: dict[str, str] = {}
    for line in read_segmentations(folder):
        if line is None:
            failures[str(folder)] = "a line of segmentations.jsonl is damaged"
        elif "error" in line:
            failures[str(line.get("path"))] = str(line["error"])
        elif "labels" not in line.get("files", {}):
            failures[str(line.get("path"))] = "it has no label map"
        else:
            done.append(PseudoLabelled(line["path"], line["files"]["labels"], None, _sums(line)))
            things.append(_instances(folder, line))
    names = tuple(words.name for words in read_classes(folder / CLASSES))
    photos = tuple(
        replace(item, **own) for item, own in zip(_moved(done, folder, images), things, strict=True)
    )
    return MaskResults(names, palette_of(names), photos, failures)


def _instances(folder: Path, line: Mapping[str, Any]) -> dict[str, Any]:
    """What a line tells of instances, or identities in a film, as fields of `MaskResult`."""
    kind = next((kind for kind in (INSTANCES, IDENTITIES) if kind in line["files"]), None)
    if kind is None:
        return {}
    scores = [one.get("score") for one in line.get(INSTANCES) or ()]
    return {
        "instances": inside(folder, line["files"][kind]),
        "instances_checksum": _sums(line).get(kind),
        "scores": tuple(scores) if None not in scores else (),
    }


def _sums(line: Mapping[str, object]) -> dict[str, str]:
    sums = line.get("checksums")
    return dict(sums) if isinstance(sums, Mapping) else {}


def _pseudo_labelled(folder: Path, images: Path | None) -> MaskResults:
    """The masks of `recoseg pseudo-label`."""
    found = PseudoLabels.read(folder)
    photos = _moved(found.photos, folder, images)
    return MaskResults(found.names, found.palette, photos, found.failures)


def _moved(
    done: Sequence[PseudoLabelled], folder: Path, images: Path | None
) -> tuple[MaskResult, ...]:
    return tuple(
        MaskResult(
            item.labels.partition("/")[2].removesuffix(".png").removesuffix(RASTER),
            path,
            inside(folder, item.labels),
            item.checksums.get("labels"),
        )
        for item, path in zip(done, photo_paths(done, folder, images), strict=True)
    )


def _of_format(found: FormatMasks, images: Path | None) -> MaskResults:
    """The masks in the format of another tool, with their photos."""
    photos = photos_of(found, images)
    items = tuple(
        MaskResult(
            name,
            str(photos.get(name, name)),
            found.location,
            decode=read,
            has_photo=name in photos,
        )
        for name, read in found.read.items()
    )
    return MaskResults(found.names, palette_of(found.names), items)


def _in_folders(masks: Path, images: Path) -> MaskResults:
    """Masks of any program, with the photos of the same names."""
    names = _names_beside(masks)
    found = FOLDER.files(masks, masks, MASK_ENDINGS)
    photos = tuple(
        MaskResult(name, str(path), found.get(name), failure="" if name in found else "no mask")
        for name, path in FOLDER.photos(images, images).items()
    )
    if not any(photo.mask for photo in photos):
        raise DatasetError(
            f"None of the {len(photos):,} photos in {images} has a mask in {masks}. Expected "
            "NAME.png for NAME.jpg."
        )
    return MaskResults(names, palette_of(names), photos)


def _names_beside(masks: Path) -> tuple[str, ...]:
    """The classes that are listed in a folder of masks or beside it."""
    lists = [path for path in (masks, masks.parent) if (path / CLASSES).is_file()]
    if not lists:
        raise DatasetError(f"No file {CLASSES} in {masks} or beside it; one class per line.")
    return tuple(words.name for words in read_classes(lists[0] / CLASSES))
