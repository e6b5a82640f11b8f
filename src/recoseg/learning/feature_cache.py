"""A cache of patch features on disk, which makes another bank over the same archive cheap."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import FileError, RecosegError
from recoseg.storage.arrays import map_array
from recoseg.storage.atomic import TEMPORARY, write_atomically
from recoseg.storage.paths import inside
from recoseg.storage.reading import open_regular

_log = logging.getLogger(__name__)

_CHECKSUM_BYTES = 4
_LEFT_SECONDS = 3600
"""Unfinished files that are older were left by killed writers."""
_GROUP = re.compile(r"[0-9a-f]{16}-\d+-(fp32|bf16|fp16)")
_PART = re.compile("[0-9a-f]{2}")
_FILE = re.compile(r"[0-9a-f]+\.npy")
_SLACK = 20  # 1/20 of the limit may be written between two scans of the folder


class FeatureCache:
    """Features of photos in a folder of bounded size; least recently used files are removed first.

        FOLDER/ENCODER-SIZE-PRECISION/ab/abcdef....npy

    A file holds the fp16 features (C, gh, gw) of one photo from one encoder, in NumPy's format,
    followed by the CRC-32 of the numbers. It is memory-mapped when read. Files are written under
    a temporary name and then renamed, and a damaged file counts as absent, so several processes
    can share a folder. Each process may exceed the limit by 1/20.

    Args:
        folder: Folder of the files; it is created if it does not exist.
        limit: Maximum size of all files, bytes.
        precision: Precision of the encoders, such as `bf16`. Features computed in another
            precision are not used.

    Attributes:
        precision: Precision of the encoders.

    Raises:
        RecosegError: The folder cannot be created.
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
        """The cache in `folder` with a limit in GB; None if `folder` is None."""
        return None if folder is None else cls(folder, int(gigabytes * 1e9), precision)

    def get(self, encoder: EncoderInfo, image_size: int, photo_hash: str) -> np.ndarray | None:
        """The features of a photo, memory-mapped; None if they are absent or damaged.

        Args:
            encoder: Encoder that computed the features.
            image_size: Side of the centre crop, to which the short side is resized; pixels.
            photo_hash: Hash of the photo's content, hexadecimal.
        """
        path = self._path(encoder, image_size, photo_hash)
        try:
            features, _ = map_array(path, trailing=_CHECKSUM_BYTES)
            with open_regular(path) as file:
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
        except (OSError, FileError):
            return None
        return features if is_whole else None

    def put(
        self, encoder: EncoderInfo, image_size: int, photo_hash: str, features: np.ndarray
    ) -> None:
        """Store the features (C, gh, gw) of a photo as fp16.

        A folder that cannot be written to is not an error: a warning is logged, and later features
        are not stored.
        """
        path = self._path(encoder, image_size, photo_hash)
        features = np.ascontiguousarray(features, np.float16)
        if self._is_broken or features.nbytes > self._limit:
            return

        def write(file: IO[bytes]) -> None:
            np.save(file, features, allow_pickle=False)
            file.write(zlib.crc32(features.data).to_bytes(_CHECKSUM_BYTES, "little"))

        try:
            write_atomically(path, write, flush=False)  # its checksum shows what a crash damages
            size = path.stat().st_size
        except FileNotFoundError:  # another process has just removed it, to make room
            return
        except OSError as error:
            _log.warning("features are no longer cached: %s: %s", self._folder, error)
            self._is_broken = True
            return
        self._unseen += size
        if self._unseen > self._limit // _SLACK:
            self._evict()

    def _path(self, encoder: EncoderInfo, image_size: int, photo_hash: str) -> Path:
        digest = hashlib.blake2b(encoder.key.encode(), digest_size=8).hexdigest()
        group = f"{digest}-{image_size}-{self.precision}"
        return inside(self._folder, f"{group}/{photo_hash[:2]}/{photo_hash}.npy")

    def _own_files(self) -> Iterator[Path]:
        """The files that a cache writes, whole or not; the folder may hold others."""
        for group in self._folder.iterdir():
            if not _GROUP.fullmatch(group.name) or group.is_symlink():
                continue
            for part in group.iterdir() if group.is_dir() else ():
                if not _PART.fullmatch(part.name) or part.is_symlink() or not part.is_dir():
                    continue
                for path in part.iterdir():
                    own = _FILE.fullmatch(path.name) and path.name.startswith(part.name)
                    if own or path.name.startswith(TEMPORARY):
                        yield path

    def _evict(self) -> None:
        """Delete the least recently used files until 1/20 of the limit is free."""
        files = []
        oldest = time.time() - _LEFT_SECONDS
        for path in self._own_files():
            with contextlib.suppress(OSError):  # another process may have deleted it
                status = path.lstat()
                if path.name.startswith(TEMPORARY):
                    if status.st_mtime < oldest:
                        path.unlink()
                    continue
                files.append((status.st_mtime_ns, status.st_size, path))
        excess = sum(size for _, size, _ in files) - (self._limit - self._limit // _SLACK)
        for _, size, path in sorted(files):
            if excess <= 0:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                excess -= size
        self._unseen = 0
