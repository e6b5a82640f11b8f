"""Listing the photos of folders, lists of paths, and tar shards, on any file system."""

from __future__ import annotations

import os
import posixpath
import stat
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from braceexpand import braceexpand

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


@dataclass(frozen=True)
class PhotoSource:
    """The photos of one folder, list or tar shard, or the images that one glob matched.

    Attributes:
        name: The path of the folder, list or shard, or the glob as it was given.
        photos: The photos in a fixed order.
    """

    name: str
    photos: tuple[Photo, ...]


def list_sources(sources: Iterable[str | os.PathLike[str]]) -> list[PhotoSource]:
    """List every photo of the sources, each path once, in a fixed order.

    A source is one of these:

    - a folder, which is searched recursively for files with an image's extension, in natural
      order; hidden files and folders are skipped;
    - a `.txt` or `.lst` file with one path or URL per line, relative to the file's folder;
    - a WebDataset `.tar` shard;
    - a single image;
    - a glob or brace expression that matches any of the above, such as `photos/*.jpg` or
      `{00000..00012}.tar`.

    Each may be a local path or a URL of a file system that fsspec supports.

    Raises:
        ArchiveError: A source does not exist, matches nothing, cannot be reached, or is not one
            of the above.
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
            listed.append(PhotoSource(source.name, tuple(photos)))
    return listed


def _list_given(given: str) -> Iterator[PhotoSource]:
    fs, _ = file_system(given)
    fs.invalidate_cache()  # the listing may have changed since this process last read it
    try:
        yield from _list_source(given)
    except RecosegError:
        raise
    except Exception as error:  # each file system raises its own types of errors
        if is_local(fs):
            raise
        raise ArchiveError(f"Cannot reach {given}: {error}") from error


def _list_source(given: str) -> Iterator[PhotoSource]:
    fs, path = file_system(given)
    if not fs.exists(path) and any(sign in given for sign in "*?[{"):
        yield from _list_glob(given)
        return
    if not fs.exists(path):
        raise ArchiveError(
            f"There is no source {given}.\nExpected a folder of photos, a .txt file of paths, a "
            ".tar shard, an image, or a glob that matches any of these."
        )
    name = full_name(fs, path)
    if fs.isdir(path):
        yield PhotoSource(name, tuple(_list_folder(fs, path)))
    elif name.endswith(".tar"):
        yield PhotoSource(name, tuple(_list_tar(fs, path, name)))
    elif name.lower().endswith(_LIST_SUFFIXES):
        yield PhotoSource(name, tuple(_list_lines(fs, path)))
    elif is_image_name(name):
        yield PhotoSource(name, (_stat(fs, path),))
    else:
        raise ArchiveError(
            f"The type of {given} is unknown. Expected a folder, a .txt or .lst file of paths, an "
            "uncompressed .tar shard, or a file with an image's extension."
        )


def _list_glob(given: str) -> Iterator[PhotoSource]:
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
        yield PhotoSource(given, tuple(images))
    if not matched:
        raise ArchiveError(
            f"Nothing matches {given}. Check the folder, and put the pattern in quotes."
        )


def _expand_braces(pattern: str) -> list[str]:
    """`a{1..3}` and `a{x,y}` to their members, as a shell does; zero padding is kept."""
    try:
        return list(braceexpand(pattern, escape=False))
    except ValueError:  # an unbalanced brace is part of a name
        return [pattern]


def _stat(fs: Any, path: str) -> Photo:
    try:
        return printable(Photo(full_name(fs, path), *look_up(fs, path)))
    except (OSError, ValueError):
        return printable(Photo(full_name(fs, path)))


def _list_folder(fs: Any, root: str) -> list[Photo]:
    if is_local(fs):
        found = list(_walk_local(root))
    else:
        # Entries below hidden folders are skipped, as in a local walk.
        found = [
            Photo(full_name(fs, path), *remote_stamp(info))
            for path, info in fs.find(root, detail=True).items()
            if is_image_name(path)
            and not any(part.startswith(".") for part in path[len(root) :].split("/"))
        ]
    return sorted(found, key=lambda photo: natural_key(photo.path))


def _walk_local(root: str) -> Iterator[Photo]:
    """Photos below a local folder. Links to folders are followed; each real folder is read once."""
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
            except OSError:  # a broken link
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
        raise ArchiveError(
            f"{path} is not UTF-8 text. Expected one path or URL per line."
        ) from error
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
    """Resolve a relative line of a list: `s3://b/lists` and `../a.jpg` give `s3://b/a.jpg`."""
    scheme, mark, place = folder.rpartition("://")
    return scheme + mark + posixpath.normpath(f"{place}/{line}")
