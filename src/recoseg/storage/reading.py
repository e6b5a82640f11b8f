"""Reading whole local files: of regular files only, and never more than a limit."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from recoseg.errors import FileError, MissingFileError

MAX_TEXT = 1 << 28
"""Maximum size of a text or JSON file, bytes (256 MiB)."""


class NotRegularError(OSError):
    """A device, a pipe, a socket or a folder, where a file is expected."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "not a regular file")

    def __str__(self) -> str:
        return str(self.strerror)


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading.

    Devices, pipes and sockets are refused before they are read, since they may never end, and
    before they are opened, since opening some of them has effects.

    Raises:
        NotRegularError: It is no regular file.
        OSError: It does not exist or cannot be read.
        ValueError: Its name holds a NUL.
    """
    if not stat.S_ISREG(Path(path).stat().st_mode):
        raise NotRegularError
    file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115  # the caller closes it
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):  # it was replaced in between
        file.close()
        raise NotRegularError
    return file


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a file; see `open_regular`.

    Args:
        path: The file.
        limit: Maximum size, bytes.

    Raises:
        MissingFileError: There is no such file.
        FileError: It is no regular file, is larger than the limit, or cannot be read.
    """
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size <= limit:
            data = _read(file, limit + 1)
            if len(data) <= limit:  # it may have grown
                return data
    raise FileError(f"{path} has more than {limit:,} bytes.")


def read_start(path: Path, length: int) -> bytes:
    """Read the first bytes of a file; see `read_bytes` for the errors.

    Args:
        path: The file.
        length: Number of bytes; a shorter file is read whole.
    """
    with open_file(path) as file:
        return _read(file, length)


@contextlib.contextmanager
def open_file(path: Path) -> Iterator[BinaryIO]:
    """An open regular file, to be read in parts; errors within become a `FileError` that names it.

    Raises:
        MissingFileError: There is no such file.
        FileError: It is no regular file, or cannot be read.
    """
    try:
        with open_regular(path) as file:
            yield file
    except FileNotFoundError as error:
        raise MissingFileError(f"No file was found at {path}.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise FileError(f"{path} cannot be read: {why(error)}.") from error


def _read(file: BinaryIO, length: int) -> bytes:
    """Read up to `length` bytes, of which Python would reserve all at once, whatever is there."""
    data = file.read(min(length, os.fstat(file.fileno()).st_size))
    while len(data) < length and (more := file.read(min(length - len(data), 1 << 16))):
        data += more
    return data


def why(error: BaseException) -> str:
    """The reason that an error names, in one line of at most 200 characters, without a path."""
    reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
    return str(reason) or type(error).__name__


def short(error: BaseException) -> str:
    """What an error says, in at most 300 characters and without a full stop, for brackets."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    return str(error)[:300].removesuffix(".")


def _open_without_waiting(path: str, flags: int) -> int:
    """Open a file; without O_NONBLOCK, opening a pipe would wait for its writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_text(path: Path, limit: int = MAX_TEXT) -> str:
    """Read a text file in UTF-8, with or without a byte order mark.

    Raises:
        MissingFileError: There is no such file.
        FileError: It cannot be read, see `read_bytes`, or is not UTF-8.
    """
    try:
        return read_bytes(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not UTF-8 text ({error.reason}).") from error


def split_lines(text: str) -> list[str]:
    """The lines of a text, which end with a line feed, or with a carriage return and a line feed.

    Names may hold the other characters at which `str.splitlines` splits, such as U+2028.
    """
    lines = text.split("\n")
    return [line.removesuffix("\r") for line in (lines if lines[-1] else lines[:-1])]


def read_lines(path: Path, limit: int = MAX_TEXT) -> list[str]:
    """The lines of a text file; see `read_text` and `split_lines`."""
    return split_lines(read_text(path, limit))


def read_json(path: Path, limit: int = MAX_TEXT) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        MissingFileError: There is no such file.
        FileError: It cannot be read, is not JSON, or holds something other than an object.
    """
    return parse_json(read_text(path, limit), str(path))


def parse_json(text: str, what: str) -> dict[str, Any]:
    """The fields of a JSON object.

    Args:
        text: The JSON text.
        what: What it is, for messages.

    Raises:
        FileError: It is not JSON, is nested too deeply, or is something other than an object.
    """
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FileError(f"{what} is damaged: it is not JSON ({short(error)}).") from error
    if not isinstance(fields, dict):
        raise FileError(f"{what} is damaged: expected a JSON object, got {text.strip()[:40]!r}.")
    return fields
