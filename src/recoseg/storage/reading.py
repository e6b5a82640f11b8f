"""Reading whole local files: of regular files only, and never more than a limit."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import IO, Any

from recoseg.errors import FileError, MissingFileError

MAX_TEXT = 1 << 28
"""Maximum size of a text or JSON file, bytes (256 MiB)."""


def read_bytes(path: Path, limit: int) -> bytes:
    """Read a file.

    Devices, pipes and sockets are refused before they are read, since they may never end.

    Args:
        path: The file.
        limit: Maximum size, bytes.

    Raises:
        MissingFileError: There is no such file.
        FileError: It is no regular file, is larger than the limit, or cannot be read.
    """
    with open_file(path) as file:
        try:
            data = file.read(limit + 1)
        except OSError as error:
            raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error
    if len(data) > limit:
        raise FileError(f"{path} has more than {limit:,} bytes.")
    return data


def open_file(path: Path) -> IO[bytes]:
    """Open a file to read it in parts, without waiting for the other end of a pipe.

    Raises:
        MissingFileError: There is no such file.
        FileError: It is no regular file, or cannot be opened.
    """
    try:
        file = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115
    except FileNotFoundError as error:
        raise MissingFileError(f"There is no file {path}.") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise FileError(f"{path} cannot be read: {reason}.") from error
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise FileError(f"{path} is not a regular file.")
    return file


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
        raise FileError(f"{what} is damaged: it is not JSON ({str(error)[:200]}).") from error
    if not isinstance(fields, dict):
        raise FileError(f"{what} is damaged: expected a JSON object, got {text.strip()[:40]!r}.")
    return fields
