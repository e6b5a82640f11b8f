"""What an archive is made of: folders, lists of paths, and tar shards, on any file system."""

from __future__ import annotations

import itertools
import os
import posixpath
import re
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recoseg.errors import ArchiveError, RecosegError
from recoseg.photos.filesystems import file_system
from recoseg.photos.refs import (
    Photo,
    full_name,
    is_image_name,
    is_local,
    local_stamp,
    look_up,
    natural_key,
    printable,
    remote_stamp,
    split_member,
)

_LIST_SUFFIXES = (".txt", ".lst")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_BRACES = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True)
class Source:
    """One place that was listed: a folder, a list, a tar shard, or the images a glob matched.

    Attributes:
        name: The folder's, list's or shard's own path, or the glob as it was given.
        photos: Its photos in a fixed order.
    """

    name: str
    photos: tuple[Photo, ...]


def list_sources(sources: Iterable[str | os.PathLike[str]]) -> list[Source]:
    """List every photo of the sources, each path once, in a fixed order.

    A source is one of: a folder (searched recursively for image extensions, natural order,
    hidden files and folders passed over); a `.txt` or `.lst` file of paths or URLs, one a line,
    relative to the file's folder; a WebDataset `.tar` shard; one image; or a glob or brace range
    of these (`photos/*.jpg`, `{00000..00012}.tar`). Each may be a local path or a URL of a file
    system that fsspec knows.

    Raises:
        ArchiveError: A source does not exist, matches nothing, cannot be reached, or is none of
            these.
        MissingExtraError: A source is on S3, and s3fs is not installed.
    """
    seen: set[str] = set()
    listed = []
    for given in sources:
        for source in _list_given(os.fspath(given)):
            photos = []
            for photo in source.photos:
                if photo.path not in seen:
                    seen.add(photo.path)
                    photos.append(photo)
            listed.append(Source(source.name, tuple(photos)))
    return listed


def _list_given(given: str) -> Iterator[Source]:
    fs, _ = file_system(given)
    fs.invalidate_cache()  # what this process listed before may have changed
    try:
        yield from _list_source(given)
    except RecosegError:
        raise
    except Exception as error:  # each file system has errors of its own
        if is_local(fs):
            raise
        raise ArchiveError(f"Cannot reach {given}: {error}") from error


def _list_source(given: str) -> Iterator[Source]:
    fs, path = file_system(given)
    if not fs.exists(path) and any(sign in given for sign in "*?[{"):
        yield from _list_glob(given)
        return
    if not fs.exists(path):
        raise ArchiveError(
            f"No such source: {given}\nExpected a folder of photos, a .txt file of paths, a .tar "
            "shard, an image, or a glob of these."
        )
    name = full_name(fs, path)
    if fs.isdir(path):
        yield Source(name, tuple(_list_folder(fs, path)))
    elif name.endswith(".tar"):
        yield Source(name, tuple(_list_tar(fs, path, name)))
    elif name.lower().endswith(_LIST_SUFFIXES):
        yield Source(name, tuple(_list_lines(fs, path)))
    elif is_image_name(name):
        yield Source(name, (_stat(fs, path),))
    else:
        raise ArchiveError(
            f"Cannot tell what {given} is. Expected a folder, a .txt or .lst file of paths, an "
            "uncompressed .tar shard, or a file with an image's extension."
        )


def _list_glob(given: str) -> Iterator[Source]:
    images = []
    matched = False
    for pattern in _expand_braces(given):
        fs, path = file_system(pattern)
        found = fs.glob(path) if any(sign in path for sign in "*?[") else [path]
        for match in sorted((match for match in found if fs.exists(match)), key=natural_key):
            matched = True
            name = full_name(fs, match)
            if is_image_name(name) and not fs.isdir(match):
                images.append(_stat(fs, match))
            else:
                yield from _list_source(name)
    if images:
        yield Source(given, tuple(images))
    if not matched:
        raise ArchiveError(f"Nothing matches {given}. Quote the pattern and check the folder.")


def _expand_braces(pattern: str) -> list[str]:
    """`a{1..3}` and `a{x,y}` to their members; zero padding is kept."""
    found = _BRACES.search(pattern)
    if not found:
        return [pattern]
    body = found[1]
    bounds = _RANGE.fullmatch(body)
    if bounds:
        low, high = int(bounds[1]), int(bounds[2])
        choices = [str(number).zfill(len(bounds[1])) for number in range(low, high + 1)]
    else:
        choices = body.split(",")
    head, tail = pattern[: found.start()], pattern[found.end() :]
    products = itertools.product(choices, _expand_braces(tail))
    return [head + choice + rest for choice, rest in products]


def _stat(fs: Any, path: str) -> Photo:
    try:
        return printable(Photo(full_name(fs, path), *look_up(fs, path)))
    except (OSError, ValueError):
        return printable(Photo(full_name(fs, path)))


def _list_folder(fs: Any, root: str) -> list[Photo]:
    if is_local(fs):
        found = list(_walk_local(root))
    else:
        # Entries below hidden folders go, as those of a local walk do.
        found = [
            Photo(full_name(fs, path), *remote_stamp(info))
            for path, info in fs.find(root, detail=True).items()
            if is_image_name(path)
            and not any(part.startswith(".") for part in path[len(root) :].split("/"))
        ]
    return sorted(found, key=lambda photo: natural_key(photo.path))


def _walk_local(root: str) -> Iterator[Photo]:
    """Photos below a local folder; links to folders are followed, each real folder once."""
    visited: set[tuple[int, int]] = set()
    stack = [root]
    while stack:
        folder = stack.pop()
        try:
            status = Path(folder).stat()
            entries = sorted(os.scandir(folder), key=lambda entry: natural_key(entry.name))
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                status = entry.stat()
            except OSError:  # a link that leads nowhere
                if is_image_name(entry.name):
                    yield printable(Photo(entry.path))
                continue
            if stat.S_ISDIR(status.st_mode):
                stack.append(entry.path)
            elif stat.S_ISREG(status.st_mode) and is_image_name(entry.name):
                yield printable(Photo(entry.path, local_stamp(status), status.st_size))


def _list_tar(fs: Any, path: str, name: str) -> Iterator[Photo]:
    shard, _ = look_up(fs, path)
    try:
        with fs.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            for member in tar:
                if member.isreg() and not member.issparse() and is_image_name(member.name):
                    stamp = f"{shard}+{member.offset_data}"
                    ref = Photo(f"{name}::{member.name}", stamp, member.size, member.offset_data)
                    yield printable(ref)
    except (tarfile.TarError, EOFError, OSError) as error:
        yield Photo(name, shard, failure=f"the tar shard is damaged or compressed: {error}")


def _list_lines(fs: Any, path: str) -> Iterator[Photo]:
    try:
        text = fs.cat_file(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArchiveError(f"{path} is no UTF-8 text. Expected one path or URL a line.") from error
    folder = full_name(fs, fs._parent(path))
    for line in dict.fromkeys(filter(None, (line.strip() for line in text.splitlines()))):
        outer, mark, member = split_member(line)
        absolute = "://" in outer or Path(outer).is_absolute()
        try:
            target, inner = file_system(outer if absolute else _below(folder, outer))
        except ArchiveError as error:
            yield Photo(line, failure=str(error))
            continue
        if is_local(target):
            inner = os.path.normpath(inner)
        if mark:
            yield Photo(full_name(target, inner) + mark + member)
        else:
            yield _stat(target, inner)


def _below(folder: str, line: str) -> str:
    """A relative line of a list as a path or URL: `s3://b/lists` and `../a.jpg` to `s3://b/a.jpg`."""
    scheme, mark, place = folder.rpartition("://")
    return scheme + mark + posixpath.normpath(f"{place}/{line}")
