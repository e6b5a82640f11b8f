"""The files of a followed sequence: label maps, identities, times; and where a run goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Int32
from PIL import Image

from recoseg.datasets.masks import decode_values
from recoseg.errors import BadImageError, FileError
from recoseg.labels import Segmentation
from recoseg.photos.files import MAX_BYTES
from recoseg.photos.refs import Photo
from recoseg.storage.checksums import checksum
from recoseg.storage.paths import inside
from recoseg.storage.reading import read_bytes
from recoseg.video.following import Followed, State
from recoseg.video.sequence import Frames
from recoseg.writers.folder import OutputFolder, read_segmentations
from recoseg.writers.formats import FilePerPhoto, encode_png
from recoseg.writers.protocol import Writer

IDENTITIES = "identities"
"""What the maps of identities are called, in the lines of a run and as their folder."""


@dataclass(frozen=True, eq=False)
class FollowedMap(Segmentation):
    """A label map with the identity of each pixel's instance.

    Attributes:
        ids: From 1; 0 where there is none.
    """

    ids: Int32[np.ndarray, "h w"] | None = None


def identity_maps() -> Writer:
    """Maps of identities as PNG of 16 bits, 0 where there is none."""

    def encode(_: Image.Image, found: Segmentation) -> bytes:
        assert isinstance(found, FollowedMap)
        assert found.ids is not None
        return encode_png(Image.fromarray(found.ids.astype(np.uint16)))

    return FilePerPhoto(IDENTITIES, ".png", encode, {IDENTITIES: True})


class SequenceFolder:
    """The output of one sequence within the folder of a run.

    Args:
        folder: The folder, which has been entered.
        frames: The sequence.
        names: The class of each label.
    """

    def __init__(self, folder: OutputFolder, frames: Frames, names: Sequence[str]) -> None:
        self._folder, self._frames, self._names = folder, frames, tuple(names)
        self.lines: dict[int, Mapping[str, Any]] = {}
        lines = [line for line in read_segmentations(folder.folder) if line is not None]
        own = [line for line in lines if line.get("sequence") == frames.name and "files" in line]
        if own and not all(self._is_unchanged(line) for line in own):
            changed = [Photo(line["path"], "changed") for line in own]
            folder.missing(changed)  # removes what was written for them
            own = []
        self.lines = {int(line["frame"]): line for line in own}

    def write(self, found: Followed) -> None:
        """Write the files of a frame and its line, or the reason why it has none.

        A frame that an earlier run has finished stays as it is.

        Raises:
            OutputError: A file cannot be written, such as on a full disk.
        """
        frame = found.frame
        if found.segmentation is None:
            self._folder.write_failure(frame.photo.path, frame.photo.failure)
            return
        if frame.number in self.lines:
            return
        assert frame.image is not None
        assert found.ids is not None
        known = {
            "sequence": self._frames.name,
            "frame": frame.number,
            "seconds": None if frame.seconds is None else round(frame.seconds, 6),
            "key": found.is_key,
            IDENTITIES: identity_fields(found.ids, found.labels, self._names),
        }
        given = found.segmentation
        both = FollowedMap(
            given.labels,
            given.names,
            given.palette,
            probabilities=given.probabilities,
            ids=found.ids,
        )
        self.lines[frame.number] = self._folder.write(
            frame.name, frame.photo, frame.image, both, known
        )

    def state(self) -> State | None:
        """The last finished key frame of an earlier run before which all frames are finished.

        Returns:
            What is known there; None to begin with the first frame.
        """
        first = next(number for number in range(len(self.lines) + 1) if number not in self.lines)
        keys = [number for number in range(first) if self.lines[number].get("key")]
        if not keys:
            return None
        line = self.lines[keys[-1]]
        labels = {int(one["id"]): self._names.index(one["class"]) for one in line["identities"]}
        given = [one["id"] for number in keys for one in self.lines[number]["identities"]]
        try:
            ids = read_ids(self._folder, line)
        except FileError:
            return None
        if set(np.unique(ids).tolist()) - {0} != set(labels):
            return None
        return State(keys[-1], ids, labels, max(given, default=0))

    def _is_unchanged(self, line: Mapping[str, Any]) -> bool:
        """Whether a finished frame is still the same photo, or of the same film."""
        photo = self._frames.photo(int(line["frame"]))
        return photo is not None and (photo.path, photo.stamp) == (line["path"], line["stamp"])


def read_ids(folder: OutputFolder, line: Mapping[str, Any]) -> Int32[np.ndarray, "h w"]:
    """The identities of a finished frame.

    Args:
        folder: The folder of the run.
        line: The line of the frame.

    Raises:
        FileError: The file is missing or damaged.
    """
    path = inside(folder.folder, line["files"][IDENTITIES])
    data = read_bytes(path, MAX_BYTES)
    if checksum(data) != line["checksums"][IDENTITIES]:
        raise FileError(f"{path} is damaged.")
    try:
        return decode_values(data).astype(np.int32)
    except BadImageError as error:
        raise FileError(f"{path} is damaged: {error}.") from error


def identity_fields(
    ids: Int32[np.ndarray, "h w"], labels: Mapping[int, int], names: Sequence[str]
) -> list[dict[str, Any]]:
    """What a line says of each instance that is in the frame: id, class, area and box.

    The area is the share of the frame; the box is left, top, width and height in pixels.

    Example:
        >>> identity_fields(np.array([[0, 4], [0, 4]], np.int32), {4: 0}, ["dog"])
        [{'id': 4, 'class': 'dog', 'area': 0.5, 'box': [1, 0, 1, 2]}]
    """
    from scipy.ndimage import find_objects

    counts = np.bincount(ids.ravel())
    found = []
    for number, place in enumerate(find_objects(ids), start=1):
        if place is None:
            continue
        rows, columns = place
        box = [columns.start, rows.start, columns.stop - columns.start, rows.stop - rows.start]
        area = round(float(counts[number] / ids.size), 6)
        name = names[labels[number]]
        found.append({"id": number, "class": name, "area": area, "box": box})
    return found
