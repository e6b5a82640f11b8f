"""A cache of regions on disk, so that a photo is divided once."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int32, UInt8
from PIL import Image
from torch import Tensor

from recoseg.errors import FileError
from recoseg.photos.refs import Photo
from recoseg.regions.protocol import RegionProvider, stamp_of
from recoseg.storage.bounded_folder import BoundedFolder
from recoseg.storage.reading import read_bytes

_LARGEST = 1 << 30  # bytes of a file
_CHECKSUM_BYTES = 4
_MOST = 0xFFFF  # regions in 16 bits


class RegionCache:
    """Regions of photos in a folder of bounded size; least recently used files go first.

        FOLDER/PROVIDER-HEIGHTxWIDTH/ab/abcdef....png

    A file holds the label map of one photo as a PNG of 16 bits, followed by the CRC-32 of the
    PNG's bytes. A damaged file counts as absent. Several processes can share a folder.

    Args:
        folder: Folder of the files; it is created if it does not exist.
        limit: Maximum size of all files, bytes.

    Raises:
        RecosegError: The folder cannot be created.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self._files = BoundedFolder(folder, limit, ".png", "regions")

    def get(self, key: str, photo: Photo, size: tuple[int, int]) -> Int32[Tensor, "h w"] | None:
        """The regions of a photo; None if they are absent or damaged.

        Args:
            key: The provider's key.
            photo: The photo; only photos of a known hash are kept.
            size: Size of its pixels and its regions (rows, columns).
        """
        if not photo.hash:
            return None
        path = self._path(key, photo, size)
        try:
            data = read_bytes(path, _LARGEST)
            png, checksum = data[:-_CHECKSUM_BYTES], data[-_CHECKSUM_BYTES:]
            if zlib.crc32(png).to_bytes(_CHECKSUM_BYTES, "little") != checksum:
                return None
            with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
                labels = np.asarray(image).astype(np.int32)
            self._files.used(path)
        except (OSError, ValueError, FileError):
            return None
        return torch.from_numpy(labels) if labels.shape == size else None

    def put(
        self, key: str, photo: Photo, size: tuple[int, int], labels: Int32[Tensor, "h w"]
    ) -> None:
        """Store the regions of a photo, if its hash is known and they are at most 65,535.

        A folder that cannot be written to is not an error: a warning is logged, and later regions
        are not stored.
        """
        if not photo.hash or int(labels.max()) > _MOST:
            return
        buffer = io.BytesIO()
        # Level 1 of zlib: a third of the time, and files larger by a fifth.
        Image.fromarray(labels.cpu().numpy().astype(np.uint16)).save(
            buffer, "PNG", compress_level=1
        )
        png = buffer.getvalue()
        data = png + zlib.crc32(png).to_bytes(_CHECKSUM_BYTES, "little")
        self._files.write(self._path(key, photo, size), len(data), lambda file: file.write(data))

    def _path(self, key: str, photo: Photo, size: tuple[int, int]) -> Path:
        digest = hashlib.blake2b(key.encode(), digest_size=8).hexdigest()
        return self._files.path(f"{digest}-{size[0]}x{size[1]}", photo.hash)


class CachedRegions:
    """Divides each photo once, and then reads its regions from a cache (a `RegionProvider`)."""

    def __init__(self, provider: RegionProvider, cache: RegionCache) -> None:
        self._provider = provider
        self._cache = cache
        self.key = provider.key
        self.needs_features = provider.needs_features
        self.is_cacheable = provider.is_cacheable

    def stamp(self, photo: Photo) -> str:
        """That of the provider, if its regions are stored ones; see `StoredRegions`."""
        return stamp_of(self._provider, photo)

    def regions(
        self,
        photo: Photo,
        pixels: UInt8[Tensor, "3 h w"],
        features: Sequence[Float[Tensor, "_ _ _"]] = (),
    ) -> Int32[Tensor, "_ _"]:
        """See `RegionProvider`."""
        if not self.is_cacheable:
            return self._provider.regions(photo, pixels, features)
        size = (pixels.shape[1], pixels.shape[2])
        known = self._cache.get(self.key, photo, size)
        if known is None:
            known = self._provider.regions(photo, pixels, features)
            self._cache.put(self.key, photo, size, known)
        return known
