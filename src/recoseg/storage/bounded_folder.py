"""A folder of bounded size for what can be computed again: files used least recently go first."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from recoseg.errors import RecosegError
from recoseg.storage.atomic import TEMPORARY, write_atomically
from recoseg.storage.paths import inside

_log = logging.getLogger(__name__)

_GROUP = re.compile(r"[0-9a-f]{16}(-\w+)*")
_PART = re.compile("[0-9a-f]{2}")
_HEXADECIMAL = re.compile("[0-9a-f]+")
_LEFT_SECONDS = 3600
"""Unfinished files that are older were left by killed writers."""
_SLACK = 20  # 1/20 of the limit may be written between two scans of the folder


class BoundedFolder:
    """Files in groups in a folder of bounded size; least recently used files are removed first.

        FOLDER/GROUP/ab/abcdef....SUFFIX

    Files are written under a temporary name and then renamed, so several processes can share a
    folder. Each process may exceed the limit by 1/20.

    Args:
        folder: The folder; it is created if it does not exist.
        limit: Maximum size of all files, bytes.
        suffix: Of the names of the files, such as `.npy`.
        what: What the files hold, for messages, such as "features".

    Raises:
        RecosegError: The folder cannot be created.
    """

    def __init__(self, folder: Path, limit: int, suffix: str, what: str) -> None:
        self._folder = folder
        self._limit = limit
        self._suffix = suffix
        self._what = what
        self._unseen = 0
        self._is_broken = False
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RecosegError(
                f"{folder} cannot hold cached {what} ({error.strerror}). Name another folder."
            ) from error
        self._evict()

    def path(self, group: str, name: str) -> Path:
        """The file of a name in a group; it may not exist.

        Names are hexadecimal digits, such as the hash of a photo. Others, which a damaged or
        hostile index may hold, are replaced by their own hash, so that none leaves the folder.
        """
        if not _HEXADECIMAL.fullmatch(name):
            name = hashlib.blake2b(name.encode("utf-8", "backslashreplace")).hexdigest()
        return inside(self._folder, f"{group}/{name[:2]}/{name}{self._suffix}")

    def used(self, path: Path) -> None:
        """Record that a file has been used just now.

        Raises:
            OSError: The file has been removed.
        """
        os.utime(path)

    def write(self, path: Path, size: int, write: Callable[[IO[bytes]], object]) -> None:
        """Let `write` fill a file.

        A folder that cannot be written to is not an error: a warning is logged, and later files
        are not stored.

        Args:
            path: The file; see `path`.
            size: About the file's size, bytes; a file larger than the limit is not stored.
            write: Writes to the open file.
        """
        if self._is_broken or size > self._limit:
            return
        try:
            write_atomically(path, write, flush=False)  # checksums show what a crash damages
            written = path.stat().st_size
        except FileNotFoundError:  # another process has just removed it, to make room
            return
        except OSError as error:
            _log.warning("%s are no longer cached: %s: %s", self._what, self._folder, error)
            self._is_broken = True
            return
        self._unseen += written
        if self._unseen > self._limit // _SLACK:
            self._evict()

    def _own_files(self) -> Iterator[Path]:
        """The files that are written here, whole or not; the folder may hold others."""
        for group in self._folder.iterdir():
            if not _GROUP.fullmatch(group.name) or group.is_symlink():
                continue
            for part in group.iterdir() if group.is_dir() else ():
                if not _PART.fullmatch(part.name) or part.is_symlink() or not part.is_dir():
                    continue
                for path in part.iterdir():
                    own = path.suffix == self._suffix and _HEXADECIMAL.fullmatch(path.stem)
                    if (own and path.stem.startswith(part.name)) or path.name.startswith(TEMPORARY):
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
                else:
                    files.append((status.st_mtime_ns, status.st_size, path))
        excess = sum(size for _, size, _ in files) - (self._limit - self._limit // _SLACK)
        for _, size, path in sorted(files):
            if excess <= 0:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                excess -= size
        self._unseen = 0
