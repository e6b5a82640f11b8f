"""Complete files: each is written under a temporary name and renamed when it is on the disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO

TEMPORARY = ".tmp-"
"""Prefix of the names of unfinished files."""


def write_atomically(
    path: Path, write: Callable[[IO[bytes]], object], *, flush: bool = True
) -> None:
    """Let `write` fill a temporary file, flush it to the disk, and rename it to `path`.

    The temporary name is unique, so that two writers of one file never mix their bytes. If `write`
    raises an error, the temporary file is removed; if the process is killed, it stays until
    `remove_leftovers`.

    Args:
        path: The file.
        write: Writes the content to an open file.
        flush: Whether to wait for the disk. Without it a file may be damaged if the machine, and
            not just the process, stops; for caches whose files are checked when they are read.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_prefix(path.name)}{secrets.token_hex(6)}")
    try:
        with temporary.open("xb") as file:
            write(file)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException as error:
        if isinstance(error, OSError) and error.errno is not None:
            error.filename = str(path)  # not the temporary name, and not none, as after a write
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    if flush:
        flush_folder(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it is complete or absent, never half written."""
    write_atomically(path, lambda file: file.write(data))


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to the disk, which makes renames and removals durable."""
    if sys.platform == "win32":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def remove_leftovers(folder: Path, name: str | None = None) -> None:
    """Remove what killed writers have left in a folder; the caller must hold the output's lock.

    Args:
        folder: The folder; it may not exist.
        name: Remove the unfinished files of this file only; None removes all of the folder.
    """
    if not folder.is_dir():
        return
    prefix = TEMPORARY if name is None else _prefix(name)
    for entry in os.scandir(folder):
        if entry.name.startswith(prefix) and entry.is_file(follow_symlinks=False):
            Path(entry.path).unlink(missing_ok=True)


def _prefix(name: str) -> str:
    """Prefix of the temporary names of a file; of fixed length, so that long names fit too."""
    digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
    return f"{TEMPORARY}{digest}-"
