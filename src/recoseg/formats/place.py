"""Where a format puts its files, and spools for files that hold something of every photo."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from recoseg.storage.atomic import write_atomically, write_bytes
from recoseg.storage.paths import inside


class Place:
    """The folder of a format within an output folder.

    Args:
        folder: The output folder.
        name: Name of the format's folder in it.
        record: Called with the name of each file, relative to the output folder, before it is
            written.
    """

    def __init__(self, folder: Path, name: str, record: Callable[[str], object]) -> None:
        self._folder = folder
        self._name = name
        self._record = record

    def path(self, name: str) -> Path:
        """The path of a file that is about to be written; its folder exists.

        Args:
            name: Relative to the format's folder, with `/` between its parts.
        """
        full = f"{self._name}/{name}"
        path = inside(self._folder, full)
        self._record(full)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, data: bytes) -> None:
        """Write a file, which is whole or absent."""
        write_bytes(self.path(name), data)

    def link(self, name: str, target: Path) -> None:
        """Write a symbolic link to a file."""
        self.path(name).symlink_to(target.resolve())

    def spool(self) -> Spool:
        """A file without a name beside the format's files, for what is put together at the end."""
        folder = inside(self._folder, self._name)
        folder.mkdir(parents=True, exist_ok=True)
        return Spool(folder)


class Spool:
    """Pieces of a text on the disk, in their order, which need no memory.

    Args:
        folder: The folder whose disk is used.
    """

    def __init__(self, folder: Path) -> None:
        self._file: IO[bytes] = TemporaryFile(dir=folder)  # noqa: SIM115, `close` closes it
        self._is_empty = True

    def add(self, text: str, between: str = "") -> None:
        """Add a piece.

        Args:
            text: The piece.
            between: What stands between it and the piece before.
        """
        self._file.write(("" if self._is_empty else between).encode() + text.encode())
        self._is_empty = False

    def add_json(self, value: Any) -> None:
        """Add an element of a JSON list."""
        self.add(json.dumps(value, ensure_ascii=False), ",\n")

    @property
    def file(self) -> IO[bytes]:
        """The open file."""
        return self._file

    def clear(self) -> None:
        """Forget all pieces."""
        self._file.seek(0)
        self._file.truncate()
        self._is_empty = True

    def copy_to(self, file: IO[bytes]) -> None:
        """Write all pieces to an open file."""
        self._file.seek(0)
        shutil.copyfileobj(self._file, file)

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def write_pieces(path: Path, pieces: list[str | Spool]) -> None:
    """Write a file of texts and spools, which is whole or absent."""

    def write(file: IO[bytes]) -> None:
        for piece in pieces:
            if isinstance(piece, str):
                file.write(piece.encode())
            else:
                piece.copy_to(file)

    write_atomically(path, write)
