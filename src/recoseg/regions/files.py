"""Regions from anybody's files: COCO's run lengths in JSON, label maps as PNG, arrays as npz."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Int32, UInt8
from PIL import Image
from torch import Tensor

from recoseg.errors import FileError, MissingFileError, RecosegError
from recoseg.photos.opening import MAX_PIXELS
from recoseg.photos.refs import Photo, composed, local_stamp, split_member
from recoseg.photos.stored import stored_values
from recoseg.regions.masks import paint, paint_each, relabel
from recoseg.regions.rle import mask_of, run_lengths
from recoseg.storage.arrays import parse_header
from recoseg.storage.paths import inside
from recoseg.storage.reading import MAX_TEXT, parse_json, read_bytes, read_json, read_text

MAX_MASKS = 4096
"""Maximum number of masks of one photo."""

MAX_ARRAY = 1 << 31
"""Maximum size of an array of an npz, bytes (2 GiB)."""

SUFFIXES = (".json", ".png", ".npz")
"""The suffixes of files of masks, in the order in which they are looked for."""


class FileRegions:
    """Finds the regions of a photo by its name, in a folder or a file (a `RegionProvider`).

    A run that is continued segments photos again whose file of masks has changed.

    In a folder, the masks of `photos/dog.jpg` are in `dog.json`, `dog.png` or `dog.npz`;
    `dog.jpg.json` and so on are found too, and come first.

    - JSON: a list of COCO's run lengths `{"size": [h, w], "counts": ...}`, compressed or not, or of
      objects that hold such as `segmentation`; the list may be the field `annotations` or `masks`
      of an object.
    - PNG: the region of each pixel in 8 or 16 bits of grey, or the index in a palette; 0 is none.
    - npz: `masks` (n, h, w), bool, or `labels` (h, w), whole numbers, 0 is none.

    A file is a JSON in COCO's form for many photos: `images` with `id` and `file_name`, and
    `annotations` with `image_id` and run lengths as `segmentation`.

    Masks that overlap are painted with the smallest on top.

    Args:
        source: The folder or the file.

    Raises:
        MissingFileError: There is no such folder or file.
    """

    needs_features = False
    is_cacheable = False  # the files may change, and they are read in little time

    def __init__(self, source: Path) -> None:
        if not source.exists():
            raise MissingFileError(f"No folder or file of masks was found at {source}.")
        self._source = source

    @property
    def key(self) -> str:
        """See `RegionProvider`."""
        return f"files({self._source.resolve().name})"

    def regions(
        self,
        photo: Photo,
        pixels: UInt8[Tensor, "3 h w"],
        features: Sequence[Float[Tensor, "_ _ _"]] = (),
    ) -> Int32[Tensor, "h w"]:
        """See `RegionProvider`.

        Raises:
            MissingFileError: There are no masks of the photo.
            FileError: They are damaged, or of another size than the photo.
        """
        name = _name(photo)
        if self._source.is_dir():
            path = self._find(name)
            labels = read_regions(path)
        else:
            path = self._source
            if name not in self._of_many:
                raise self._missing(name, "Expected it as `file_name` of one of the `images`.")
            with _named(path):
                labels = _painted(self._of_many[name])
        expected = (pixels.shape[1], pixels.shape[2])
        if tuple(labels.shape) != expected:
            raise FileError(
                f"{path} holds masks of {name} of {labels.shape[0]} x {labels.shape[1]} pixels; "
                f"expected those of the photo, {expected[0]} x {expected[1]}. Masks belong to the "
                "upright photo at its full size."
            )
        return labels

    def stamp(self, photo: Photo) -> str:
        """See `StoredRegions`: name, size and modification time of the file with the masks."""
        try:
            path = self._find(_name(photo)) if self._source.is_dir() else self._source
            return f"{path.name} {local_stamp(path.stat())}"
        except (FileError, OSError, ValueError):
            return "-"

    def _find(self, name: str) -> Path:
        stems = [form for stem in (name, name.rsplit(".", 1)[0]) for form in (stem, composed(stem))]
        for stem in dict.fromkeys(stems):
            for suffix in SUFFIXES:
                if stem and (path := inside(self._source, stem + suffix)).exists():
                    return path
        raise self._missing(name, f"Expected its name with one of {', '.join(SUFFIXES)}.")

    def _missing(self, name: str, expected: str) -> MissingFileError:
        shown = name or "a photo without a name"
        return MissingFileError(f"No masks of {shown} were found in {self._source}. {expected}")

    @cached_property
    def _of_many(self) -> dict[str, list[Any]]:
        """The masks of each photo, by its name, of a file for many photos."""
        fields = read_json(self._source)
        images, annotations = (fields.get(key) for key in ("images", "annotations"))
        try:
            names = {one["id"]: str(one["file_name"]) for one in cast(Any, images)}
            found: dict[str, list[Any]] = {}
            for one in cast(Any, annotations):
                name = names[one["image_id"]].replace("\\", "/").rsplit("/", 1)[-1]
                found.setdefault(name, []).append(one)
        except (TypeError, KeyError) as error:
            raise FileError(
                f"{self._source} is not in COCO's form: expected `images` with `id` and "
                f"`file_name`, and `annotations` with `image_id` ({type(error).__name__}: {error})."
            ) from error
        return found


def _name(photo: Photo) -> str:
    """The name of a photo's file, without folders."""
    outer, _, member = split_member(photo.path)
    return (member or outer).replace("\\", "/").rsplit("/", 1)[-1]


def read_regions(path: Path) -> Int32[Tensor, "h w"]:
    """Read the regions of one photo; see `FileRegions` for the forms.

    Raises:
        MissingFileError: There is no such file.
        FileError: It is damaged, too large, or of another form.
    """
    readers = {".json": _read_json, ".png": _read_png, ".npz": _read_npz}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise FileError(f"{path} is none of {', '.join(SUFFIXES)}.")
    with _named(path):
        return reader(path)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Put the path before the reasons of errors."""
    try:
        yield
    except MissingFileError:
        raise
    except FileError as error:
        text = str(error)
        raise FileError(text if str(path) in text else f"{path}: {text}") from error


def _read_json(path: Path) -> Int32[Tensor, "h w"]:
    text = read_text(path, MAX_TEXT)
    if text.lstrip().startswith("["):
        text = f'{{"masks": {text}}}'
    fields = parse_json(text, str(path))
    return _painted(fields.get("masks", fields.get("annotations")))


def _painted(entries: Any) -> Int32[Tensor, "h w"]:
    """The regions of masks in COCO's run lengths."""
    if not isinstance(entries, list) or not entries:
        raise FileError("Expected a list of masks in COCO's run lengths.")
    if len(entries) > MAX_MASKS:
        raise FileError(f"Expected at most {MAX_MASKS} masks, got {len(entries)}.")
    found = [_run_lengths(entry) for entry in entries]
    sizes = {size for size, _ in found}
    if len(sizes) > 1:
        raise FileError(f"Expected masks of one size, got {sorted(sizes)}.")
    (size,) = sizes
    runs = [run_lengths(counts, size) for _, counts in found]
    areas = [int(one[1::2].sum()) for one in runs]
    return paint_each(areas, lambda number: torch.from_numpy(mask_of(runs[number], size)), size)


def _run_lengths(entry: Any) -> tuple[tuple[int, int], Any]:
    """The size and the run lengths of one mask."""
    if isinstance(entry, dict) and "segmentation" in entry:
        entry = entry["segmentation"]
    size, counts = (entry.get(k) for k in ("size", "counts")) if isinstance(entry, dict) else (0, 0)
    if (
        not isinstance(size, list)
        or len(size) != 2
        or not all(type(side) is int and side > 0 for side in size)
        or not isinstance(counts, list | str)
    ):
        raise FileError(
            'Expected masks as {"size": [height, width], "counts": ...}, got '
            f"{json.dumps(entry)[:60]}. Convert polygons to run lengths first."
        )
    if size[0] * size[1] > MAX_PIXELS:
        raise FileError(f"A mask of {size[0]} x {size[1]} has more than {MAX_PIXELS:,} pixels.")
    return (size[0], size[1]), counts


def _read_png(path: Path) -> Int32[Tensor, "h w"]:
    data = read_bytes(path, MAX_TEXT)
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS:
                raise FileError(f"It has more than {MAX_PIXELS:,} pixels.")
            if image.mode not in ("1", "L", "P", "I", "I;16"):
                raise FileError(
                    f"Expected a label map of 8 or 16 bits of grey or with a palette, got a PNG of "
                    f"mode {image.mode}."
                )
            array = stored_values(image)
    except RecosegError:
        raise
    except Exception as error:  # damaged files make the decoder raise errors of many types
        raise FileError(f"It is damaged: {str(error)[:200]}") from error
    return relabel(torch.from_numpy(array.astype(np.int64)))


def _read_npz(path: Path) -> Int32[Tensor, "h w"]:
    data = read_bytes(path, MAX_TEXT)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = [name for name in ("masks.npy", "labels.npy") if name in archive.namelist()]
            if len(names) != 1:
                raise FileError("Expected one array, either `masks` or `labels`.")
            array = _read_array(archive, names[0])
    except RecosegError:
        raise
    # RuntimeError also stands for forms of compression that zipfile does not know.
    except (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        raise FileError(f"It is damaged: {str(error)[:200]}") from error
    if names[0] == "labels.npy":
        if array.ndim != 2 or array.dtype.kind not in "iu" or array.min(initial=0) < 0:
            raise FileError(
                f"Expected `labels` (h, w) of whole numbers of 0 or more, got {array.dtype} "
                f"{array.shape}."
            )
        return relabel(torch.from_numpy(array.astype(np.int64)))
    if array.ndim != 3 or array.dtype != bool:
        raise FileError(f"Expected `masks` (n, h, w) of bool, got {array.dtype} {array.shape}.")
    if len(array) > MAX_MASKS:
        raise FileError(f"Expected at most {MAX_MASKS} masks, got {len(array)}.")
    return paint(torch.from_numpy(array))


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    """An array of an npz, whose header is checked before memory is taken for it."""
    with archive.open(name) as file:
        try:
            shape, fortran, dtype = parse_header(file)
        except KeyError as error:
            raise FileError(
                f"Expected an array of NumPy's format 1.0 or 2.0, got {error}."
            ) from error
        count = int(np.prod(shape, dtype=object)) if shape else 1
        if dtype.hasobject or dtype.kind not in "biu" or count * dtype.itemsize > MAX_ARRAY:
            raise FileError(
                f"Expected an array of whole numbers or bool of at most {MAX_ARRAY:,} bytes, got "
                f"{dtype} {shape}."
            )
        data = file.read(count * dtype.itemsize)
    if len(data) != count * dtype.itemsize:
        raise FileError("It is damaged: the array is shorter than its header tells.")
    flat = np.frombuffer(bytearray(data), dtype)  # a copy that may be written to, as torch wants it
    return flat.reshape(shape, order="F" if fortran else "C")
