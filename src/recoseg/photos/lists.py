"""Lists of photos: one path or URL per line, any of which may be wrong."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from recoseg.errors import ArchiveError
from recoseg.photos import files
from recoseg.photos.files import read_up_to
from recoseg.photos.filesystems import file_system, is_url, reason_of
from recoseg.photos.refs import Photo, full_name, is_local, look_up, printable, split_member
from recoseg.storage.reading import NotRegularError, split_lines

LONGEST_LINE = 32_768
"""Maximum length of a path or URL in a list, characters."""

_SHOWN = 100  # characters of a line that is too long


def list_lines(fs: Any, path: str) -> Iterator[Photo]:
    """The photos of a list, each line once. A line that cannot be used is a photo with a failure.

    Args:
        fs: File system of the list.
        path: Path of the list within that.

    Raises:
        ArchiveError: The list has more than `MAX_LIST` bytes.
        Exception: It cannot be read; each file system raises its own types of errors.
    """
    known = look_up(fs, path)[1]
    data = b"" if known > files.MAX_LIST else read_up_to(fs, path, files.MAX_LIST + 1)
    if max(known, len(data)) > files.MAX_LIST:
        raise ArchiveError(
            f"{path} has more than {files.MAX_LIST:,} bytes. Split it into several lists."
        )
    folder = full_name(fs, fs._parent(path))
    # Bytes that are not UTF-8 concern their own line only.
    text = data.decode("utf-8-sig", "surrogateescape")
    lines = (line.strip(" \t\r") for line in split_lines(text))
    for number, line in enumerate(dict.fromkeys(filter(None, lines)), start=1):
        yield _photo_of(line, folder, number)


def located(fs: Any, path: str) -> Photo:
    """The photo at a path, with stamp and size where they can be found; its reading says why not.

    Args:
        fs: Its file system.
        path: Its path within that.
    """
    photo = Photo(full_name(fs, path))
    try:
        stamp, size = look_up(fs, path)
        photo = replace(photo, stamp=stamp, size=size)
    except NotRegularError as error:
        photo = photo.failed(f"cannot be read: {reason_of(error)}")
    except Exception:  # each file system raises its own types of errors
        pass
    return printable(photo)


def _photo_of(line: str, folder: str, number: int) -> Photo:
    if len(line) > LONGEST_LINE:
        reason = f"a line of {len(line):,} characters; expected a path or URL"
        return printable(Photo(f"{line[:_SHOWN]}... (entry {number})", failure=reason))
    if "\0" in line:
        return printable(Photo(line, failure="a line with a NUL; expected a path or URL in UTF-8"))
    try:
        outer, mark, member = split_member(line)
        absolute = is_url(outer) or Path(outer).is_absolute()
        fs, inner = file_system(outer if absolute else _below(folder, outer))
        if is_local(fs):
            inner = os.path.normpath(inner)
        return (
            printable(Photo(full_name(fs, inner) + mark + member)) if mark else located(fs, inner)
        )
    except Exception as error:  # each file system raises its own types of errors
        return printable(Photo(line, failure=reason_of(error)))


def _below(folder: str, line: str) -> str:
    """Resolve a relative line of a list: `s3://b/lists` and `../a.jpg` give `s3://b/a.jpg`."""
    scheme, mark, place = folder.rpartition("://")
    return scheme + mark + posixpath.normpath(f"{place}/{line}")
