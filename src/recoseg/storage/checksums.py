"""Checksums of files, which show that a disk or a network has changed their bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from recoseg.errors import FileError


def checksum(data: bytes | memoryview) -> str:
    """BLAKE2b of 128 bits, 32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def file_checksum(path: Path) -> str:
    """The checksum of a file, which is read in parts of a megabyte.

    Raises:
        OSError: The file cannot be read.
    """
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def check_file(path: Path, expected: str) -> None:
    """Refuse a file whose bytes have changed since its checksum was recorded.

    Raises:
        FileError: The file is missing or cannot be read, or its checksum differs.
    """
    try:
        found = file_checksum(path)
    except OSError as error:
        raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error
    if found != expected:
        raise FileError(
            f"{path} is damaged: its checksum is {found}, but {expected} was recorded when it was "
            "written."
        )
