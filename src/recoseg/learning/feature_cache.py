"""A cache of patch features on disk, which makes another bank over the same archive cheap."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import FileError
from recoseg.storage.arrays import map_array
from recoseg.storage.bounded_folder import BoundedFolder
from recoseg.storage.reading import open_regular

_CHECKSUM_BYTES = 4


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
        self._files = BoundedFolder(folder, limit, ".npy", "features")
        self.precision = precision

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
                self._files.used(path)
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
        features = np.ascontiguousarray(features, np.float16)

        def write(file: IO[bytes]) -> None:
            np.save(file, features, allow_pickle=False)
            file.write(zlib.crc32(features.data).to_bytes(_CHECKSUM_BYTES, "little"))

        self._files.write(self._path(encoder, image_size, photo_hash), features.nbytes, write)

    def _path(self, encoder: EncoderInfo, image_size: int, photo_hash: str) -> Path:
        digest = hashlib.blake2b(encoder.key.encode(), digest_size=8).hexdigest()
        return self._files.path(f"{digest}-{image_size}-{self.precision}", photo_hash)
