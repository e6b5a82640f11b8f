"""Folders of other machines that recoseg's output has been copied to: its masks are no photos."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from recoseg.errors import FileError
from recoseg.photos.files import read_up_to
from recoseg.storage.claim import MARKS, MAX_MARK, own_format
from recoseg.storage.reading import parse_json


def output_folders(fs: Any, root: str, files: Iterable[str]) -> tuple[str, ...]:
    """The folders below a folder that recoseg has written into, with `/` at their ends.

    Args:
        fs: The file system.
        root: The folder.
        files: All files below it; only those named as marks of outputs are read.
    """
    marks = (path.rpartition("/") for path in files)
    found = {
        folder
        for folder, _, name in marks
        if name in MARKS and folder != root.rstrip("/") and _is_mark(fs, f"{folder}/{name}")
    }
    return tuple(f"{folder}/" for folder in sorted(found))


def _is_mark(fs: Any, path: str) -> bool:
    try:
        data = read_up_to(fs, path, MAX_MARK + 1)
        return len(data) <= MAX_MARK and own_format(parse_json(data.decode(), path)) is not None
    except (FileError, UnicodeDecodeError):
        return False
