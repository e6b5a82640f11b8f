"""Checksums of files, which show that a disk or a network has changed their bytes."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from recoseg.errors import FileError
from recoseg.storage.atomic import write_atomically
from recoseg.storage.reading import open_regular, why


def checksum(data: bytes | memoryview) -> str:
    """BLAKE2b of 128 bits, 32 hex digits."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def file_checksum(path: Path) -> str:
    """The checksum of a file, which is read in parts of a megabyte.

    Raises:
        OSError: The file cannot be read, or is no regular file.
    """
    digest = hashlib.blake2b(digest_size=16)
    with open_regular(path) as file:
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
        raise FileError(f"{path} cannot be read: {why(error)}.") from error
    if found != expected:
        raise FileError(
            f"{path} is damaged: its checksum is {found}, but {expected} was recorded when it was "
            "written."
        )


def write_with_checksum(path: Path, write: Callable[[Any], object]) -> str:
    """Write a file as `write_atomically` does; its checksum is computed while it is written.

    Args:
        path: The file.
        write: Fills the file that it is given, from the first to the last byte.

    Returns:
        The checksum.
    """
    sums: list[str] = []

    def write_and_sum(file: IO[bytes]) -> None:
        summing = _Summing(file)
        write(summing)
        sums.append(summing.digest.hexdigest())

    write_atomically(path, write_and_sum)
    return sums[0]


class _Summing(io.RawIOBase):
    """Passes bytes on to a file and computes their checksum."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__()
        self._file = file
        self.digest = hashlib.blake2b(digest_size=16)

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._file.write(view)
        self.digest.update(view)
        return len(view)

    def tell(self) -> int:
        return self._file.tell()
