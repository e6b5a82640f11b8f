"""Files with one JSON object per line, which may have been cut off or damaged anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from recoseg.errors import FileError
from recoseg.storage.atomic import write_atomically
from recoseg.storage.reading import open_file, parse_json

MAX_LINE = 1 << 26
"""Maximum length of a line, bytes (64 MiB); a longer one counts as damaged."""


def line_of(fields: Mapping[str, Any]) -> bytes:
    """A JSON object as one line with a line feed at its end.

    Text is written as it is. Where it holds characters that are not UTF-8 (which file names may
    have), or at which other programs split lines (such as U+2028), the whole line is ASCII.
    """
    text = json.dumps(fields, ensure_ascii=False)
    if len(text.splitlines()) == 1:
        try:
            return f"{text}\n".encode()
        except UnicodeEncodeError:
            pass
    return f"{json.dumps(fields)}\n".encode("ascii")


def read_json_lines(path: Path) -> Iterator[dict[str, Any] | None]:
    """The objects in a file, in order, read one line at a time.

    Lines end with line feeds only. The last one counts as cut off if it has none.

    Args:
        path: The file.

    Yields:
        The fields of each line; None for one that is damaged, cut off or holds no object.

    Raises:
        MissingFileError: There is no such file.
        FileError: It is no regular file or cannot be read.
    """
    with open_file(path) as file:
        try:
            while line := file.readline(MAX_LINE):
                yield _parsed(line)
                while line and not line.endswith(b"\n"):  # the rest of a line that is too long
                    line = file.readline(MAX_LINE)
        except OSError as error:
            raise FileError(f"{path} cannot be read: {error.strerror or error}.") from error


def write_json_lines(path: Path, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write a file of lines so that it is complete or absent."""

    def write(file: IO[bytes]) -> None:
        for fields in lines:
            file.write(line_of(fields))

    write_atomically(path, write)


def _parsed(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        return parse_json(line.decode(), "line")
    except (FileError, UnicodeDecodeError):
        return None
