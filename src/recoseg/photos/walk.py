"""Walking through local folders, by the same rules for photos, masks and whole data sets."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from recoseg.photos.exclusion import Exclusion, relative_path
from recoseg.photos.refs import composed, natural_key

_PASSED_OVER = ("@eadir", "__macosx")

SIGNS = "*?["
"""The signs that make a path a glob."""


def is_passed_over(name: str) -> bool:
    """Whether files and folders of this name are none of the user's photos.

    They are hidden, or are folders of thumbnails (`@eaDir` of Synology) or of what a Mac adds to
    archives (`__MACOSX`).
    """
    return name.startswith(".") or name.lower() in _PASSED_OVER


def _never(folder: str, entries: list[os.DirEntry[str]]) -> bool:
    return False


@dataclass(frozen=True)
class Rules:
    """How folders are walked through.

    Attributes:
        unread: Called with each folder that cannot be read, and the reason.
        skip: Says of a folder below the root, by its path and its entries, whether to skip it.
        exclude: What is left out, by its path relative to the root.
    """

    unread: Callable[[str, OSError], object]
    skip: Callable[[str, list[os.DirEntry[str]]], bool] = _never
    exclude: Exclusion = field(default_factory=Exclusion)


def walk(root: str, rules: Rules) -> Iterator[os.DirEntry[str]]:
    """The files below a folder, at any depth; see `is_passed_over` for those that are left out.

    Links are followed, and each real folder is read once, however many links lead to it.

    Args:
        root: The folder.
        rules: What is skipped, and who is told of unreadable folders.

    Yields:
        Everything but folders, also links that lead nowhere, and devices.
    """
    for _, entries in _folders(root, root, rules):
        yield from (entry for entry in entries if not _is_folder(entry))


def matches(pattern: str, rules: Rules) -> Iterator[str]:
    """The local paths that match a glob, by the same rules as `walk`.

    `*`, `?` and `[...]` stand for letters of one name, `**` for any number of folders. Hidden names
    match only where the pattern names them with their dot.

    Args:
        pattern: An absolute path with signs.
        rules: As for `walk`; the root is the last folder before the first sign.

    Yields:
        Paths of files and folders, which may not exist where the last part has no sign; a folder
        stands for all that lies below it.
    """
    root = fixed_part(pattern)
    parts = pattern[len(root) :].lstrip("/").split("/")
    if Path(root).is_dir():
        root = str(Path(root))
        yield from dict.fromkeys(_expand(root, root, parts, rules))


def fixed_part(pattern: str) -> str:
    """The last folder before the first sign of a glob.

    Example:
        >>> fixed_part("/a/b*/c"), fixed_part("/*.jpg"), fixed_part("s3://b/x/[ab]/1.jpg")
        ('/a', '/', 's3://b/x')
    """
    first = min((pattern.find(sign) for sign in SIGNS if sign in pattern), default=len(pattern))
    end = pattern.rfind("/", 0, first)
    return pattern[: max(end, 1)] if end >= 0 else ""


def _folders(folder: str, root: str, rules: Rules) -> Iterator[tuple[str, list[os.DirEntry[str]]]]:
    """A folder and those below it, each once, with their entries in natural order."""
    visited: set[tuple[int, int]] = set()
    stack = [folder]
    while stack:
        at = stack.pop()
        try:
            status = Path(at).stat()
        except OSError as error:
            rules.unread(at, error)
            continue
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        entries = _entries(at, root, rules)
        yield at, entries
        stack += [entry.path for entry in entries if _is_folder(entry)]


def _entries(folder: str, root: str, rules: Rules, hidden: bool = False) -> list[os.DirEntry[str]]:
    """What is in a folder and is not left out, in natural order."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: natural_key(entry.name))
    except OSError as error:
        rules.unread(folder, error)
        return []
    if folder != root and rules.skip(folder, entries):
        return []
    kept = [entry for entry in entries if hidden or not is_passed_over(entry.name)]
    if not rules.exclude.patterns:
        return kept
    return [
        entry
        for entry in kept
        if not rules.exclude.leaves_out(
            relative_path(entry.path, root), is_folder=_is_folder(entry)
        )
    ]


def _expand(folder: str, root: str, parts: list[str], rules: Rules) -> Iterator[str]:
    """The paths in a folder that match the parts of a glob."""
    part, *rest = parts
    if part == "**":
        if not rest:
            yield folder
        else:
            for below, _ in _folders(folder, root, rules):
                yield from _expand(below, root, rest, rules)
    elif not any(sign in part for sign in SIGNS):
        path = Path(folder, part)
        if rest and path.is_dir():
            yield from _expand(str(path), root, rest, rules)
        elif not rest:
            yield str(path)
    else:
        for entry in _entries(folder, root, rules, hidden=part.startswith(".")):
            if not fnmatch.fnmatchcase(composed(entry.name), composed(part)):
                continue
            if not rest:
                yield entry.path
            elif _is_folder(entry):
                yield from _expand(entry.path, root, rest, rules)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads in a circle, or to where nobody may look
        return False
