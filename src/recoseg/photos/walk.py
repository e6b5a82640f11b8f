"""Walking through local folders, by the same rules for photos, masks and whole data sets."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from recoseg.photos.refs import natural_key

_PASSED_OVER = ("@eadir", "__macosx")


def is_passed_over(name: str) -> bool:
    """Whether files and folders of this name are none of the user's photos.

    They are hidden, or are folders of thumbnails (`@eaDir` of Synology) or of what a Mac adds to
    archives (`__MACOSX`).
    """
    return name.startswith(".") or name.lower() in _PASSED_OVER


def walk(
    root: str,
    unread: Callable[[str, OSError], object],
    skip: Callable[[str, list[os.DirEntry[str]]], bool] = lambda *_: False,
) -> Iterator[os.DirEntry[str]]:
    """The files below a folder, at any depth; see `is_passed_over` for those that are left out.

    Links are followed, and each real folder is read once, however many links lead to it.

    Args:
        root: The folder.
        unread: Called with each folder that cannot be read, and the reason.
        skip: Says of a folder below the root, by its path and its entries, whether to skip it.

    Yields:
        Everything but folders, also links that lead nowhere, and devices.
    """
    visited: set[tuple[int, int]] = set()
    stack = [root]
    while stack:
        folder = stack.pop()
        try:
            status = Path(folder).stat()
            entries = sorted(os.scandir(folder), key=lambda entry: natural_key(entry.name))
        except OSError as error:
            unread(folder, error)
            continue
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        if folder != root and skip(folder, entries):
            continue
        for entry in entries:
            if is_passed_over(entry.name):
                continue
            if _is_folder(entry):
                stack.append(entry.path)
            else:
                yield entry


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle, or to where nobody may look
        return False
