"""Files that are whole or absent, and one writer at a time."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from recoseg.errors import ArchiveError

TEMPORARY = ".tmp-"
"""How the names of unfinished files begin."""


@contextlib.contextmanager
def write_lock(root: Path) -> Iterator[None]:
    """Keep other writers off; the lock falls with the process, however it ends.

    Raises:
        ArchiveError: Another process writes here.
    """
    with (root / ".lock").open("a+b") as file:
        try:
            if sys.platform == "win32":
                import msvcrt

                msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ArchiveError(
                f"Another process is writing to {root}. Wait for it, or choose another folder."
            ) from error
        yield


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file, flush it to the disk, then give it its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    with temporary.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    if sys.platform != "win32":  # the rename itself is on the disk once the folder is
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def to_json(fields: dict[str, Any]) -> bytes:
    """Readable JSON, UTF-8, with a line end."""
    text = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # undecodable bytes of file names
