"""Patch features that outlive a run, so that another bank over the same archive is cheap."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import tempfile
import zlib
from pathlib import Path

import numpy as np

from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import RecosegError

_log = logging.getLogger(__name__)

_CHECKSUM_BYTES = 4
_SLACK = 20  # a twentieth of the limit may be written between two looks at the folder


class FeatureCache:
    """Features of photos in a folder of bounded size; the least recently used go first.

        FOLDER/ENCODER-SIZE-PRECISION/ab/abcdef....npy

    A file holds the fp16 features (C, gh, gw) of one photo in one encoder, in NumPy's format,
    then the CRC-32 of the numbers. It is memory-mapped when read. Files appear whole, by renaming,
    and a damaged one counts as absent, so that several processes may share a folder; together
    they may exceed the limit by a twentieth for each process.

    Args:
        folder: Where the files lie; made if absent.
        limit: Most bytes of all files.
        precision: The encoders' precision, such as `bf16`; others' features are not used.

    Attributes:
        precision: The same.

    Raises:
        RecosegError: The folder cannot be made.
    """

    def __init__(self, folder: Path, limit: int, precision: str) -> None:
        self._folder = folder
        self._limit = limit
        self.precision = precision
        self._unseen = 0
        self._is_broken = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecosegError(
                f"{folder} cannot hold cached features ({error.strerror}). Name another folder."
            ) from error
        self._evict()

    @classmethod
    def open(cls, folder: Path | None, gigabytes: float, precision: str) -> FeatureCache | None:
        """The cache in a folder, as options name it; None without one."""
        return None if folder is None else cls(folder, int(gigabytes * 1e9), precision)

    def get(self, encoder: EncoderInfo, image_size: int, photo_hash: str) -> np.ndarray | None:
        """The features of a photo, memory-mapped; None where they are absent or damaged.

        Args:
            encoder: Whose features.
            image_size: Short side and centre crop, pixels.
            photo_hash: Hexadecimal digits that name the photo's content.
        """
        path = self._path(encoder, image_size, photo_hash)
        try:
            features: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
            with path.open("rb") as file:
                file.seek(-_CHECKSUM_BYTES, os.SEEK_END)
                checksum = int.from_bytes(file.read(), "little")
            is_whole = (
                features.dtype == np.float16
                and features.ndim == 3
                and len(features) == encoder.dim
                and zlib.crc32(features.data) == checksum
            )
            if is_whole:
                os.utime(path)
        except (OSError, ValueError, EOFError):
            return None
        return features if is_whole else None

    def put(
        self, encoder: EncoderInfo, image_size: int, photo_hash: str, features: np.ndarray
    ) -> None:
        """Keep the features (C, gh, gw) of a photo, as fp16, for as long as there is room.

        A folder that cannot be written to is no error: the run goes on without.
        """
        path = self._path(encoder, image_size, photo_hash)
        features = np.ascontiguousarray(features, np.float16)
        if self._is_broken or features.nbytes > self._limit:
            return
        temporary = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npy", delete=False) as file:
                temporary = Path(file.name)
                np.save(file, features, allow_pickle=False)
                file.write(zlib.crc32(features.data).to_bytes(_CHECKSUM_BYTES, "little"))
                size = file.tell()
            temporary.replace(path)
        except OSError as error:
            _log.warning("features are no longer cached: %s: %s", self._folder, error)
            self._is_broken = True
            if temporary is not None:
                temporary.unlink(missing_ok=True)
            return
        self._unseen += size
        if self._unseen > self._limit // _SLACK:
            self._evict()

    def _path(self, encoder: EncoderInfo, image_size: int, photo_hash: str) -> Path:
        digest = hashlib.blake2b(encoder.key.encode(), digest_size=8).hexdigest()
        group = f"{digest}-{image_size}-{self.precision}"
        return self._folder / group / photo_hash[:2] / f"{photo_hash}.npy"

    def _evict(self) -> None:
        """Delete the files longest unused until a twentieth of the limit is free."""
        files = []
        for path in self._folder.glob("*/*/*.npy"):
            with contextlib.suppress(OSError):  # another process may have deleted it
                status = path.stat()
                files.append((status.st_mtime_ns, status.st_size, path))
        excess = sum(size for _, size, _ in files) - (self._limit - self._limit // _SLACK)
        for _, size, path in sorted(files):
            if excess <= 0:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                excess -= size
        self._unseen = 0
