"""Where a format puts its files, and spools for files that hold something of every photo."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from recoseg.errors import OutputError
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
        self.spools: dict[str, Spool] = {}

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
        path = self.path(name)
        path.unlink(missing_ok=True)
        path.symlink_to(target.resolve())

    def spool(self, name: str) -> Spool:
        """A file beside the format's files for what is put together at the end.

        What an interrupted run has put into it is still there; see `Spool.cut`.
        """
        self.spools[name] = Spool(self.path(f".{name}.part"))
        return self.spools[name]


class Spool:
    """Pieces of a text on the disk, in their order, which need no memory.

    Args:
        path: The file; it is created if it does not exist.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.touch()
        self._file: IO[bytes] = path.open("r+b")
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

    @property
    def size(self) -> int:
        """Bytes of all pieces, which are handed to the system at the call."""
        self._file.flush()
        return self._file.tell()

    def cut(self, size: int) -> None:
        """Forget all pieces but the first ones.

        Args:
            size: Bytes of the pieces that are kept.

        Raises:
            OutputError: There are fewer bytes.
        """
        self._file.seek(0, 2)
        if self._file.tell() < size:
            raise OutputError(
                f"{self._path} is shorter than the run had recorded, as after a power failure. "
                "Write the formats again with --overwrite."
            )
        self._file.seek(size)
        self._file.truncate()
        self._is_empty = size == 0

    def copy_to(self, file: IO[bytes]) -> None:
        """Write all pieces to an open file."""
        self._file.seek(0)
        shutil.copyfileobj(self._file, file)

    def close(self) -> None:
        """Close the file; what is in it is kept."""
        self._file.close()

    def remove(self) -> None:
        """Remove the file."""
        self._file.close()
        self._path.unlink(missing_ok=True)


def write_pieces(path: Path, *pieces: str | Spool) -> None:
    """Write a file of texts and spools, which is whole or absent."""

    def write(file: IO[bytes]) -> None:
        for piece in pieces:
            if isinstance(piece, str):
                file.write(piece.encode())
            else:
                piece.copy_to(file)

    write_atomically(path, write)
