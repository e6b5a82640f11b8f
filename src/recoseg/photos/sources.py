"""Listing the photos of folders, lists of paths, and tar shards, on any file system."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from braceexpand import braceexpand

from recoseg.errors import ArchiveError, RecosegError
from recoseg.photos.exclusion import Exclusion, relative_path
from recoseg.photos.files import LIST_SUFFIXES, is_folder
from recoseg.photos.filesystems import connection_error, file_system, reason_of
from recoseg.photos.films import is_film_name
from recoseg.photos.lists import list_lines, located
from recoseg.photos.outputs import output_folders
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
)
from recoseg.photos.shards import cut_off, read_content
from recoseg.photos.walk import SIGNS, Rules, fixed_part, is_passed_over, matches, walk
from recoseg.storage.claim import MARKS, format_in
from recoseg.storage.reading import NotRegularError, why


@dataclass(frozen=True)
class PhotoSource:
    """The photos of one folder, list or tar shard, or the images that one glob matched.

    Attributes:
        name: The path of the folder, list or shard, or the glob as it was given.
        photos: The photos in a fixed order.
        base: What the paths of its photos are relative to: a folder or shard itself, the folder of
            a list or of a photo, or the last folder before the first sign of a glob.
    """

    name: str
    photos: tuple[Photo, ...]
    base: str = ""

    def below(self, photo: Photo) -> str:
        """The path of a photo below its source, for names that mirror the folders of photos.

        It is relative, with `/` between its parts, and empty for a photo that was given alone or
        lies elsewhere, such as one that a list names by a URL.
        """
        path = relative_path(photo.path, self.base)
        lies_elsewhere = path == photo.path.replace(os.sep, "/")
        return "" if lies_elsewhere or photo.path == self.name else path


def list_sources(
    sources: Iterable[str | os.PathLike[str]], exclude: str | Iterable[str] = ()
) -> list[PhotoSource]:
    """List every photo of the sources, each path once, in a fixed order.

    A source is one of these:

    - a folder, which is searched recursively for files with an image's extension, in natural
      order; hidden files and folders, and folders below it that hold output of recoseg, are
      skipped;
    - a `.txt` or `.lst` file with one path or URL per line, relative to the file's folder;
    - a WebDataset `.tar` shard; of members of equal names the first is used;
    - a single image;
    - a glob or brace expression that matches any of the above, such as `photos/*.jpg` or
      `{00000..00012}.tar`.

    Each may be a local path or a URL of one of the `SCHEMES`. What cannot be listed becomes a photo
    with a failure: a folder that cannot be read, a line of a list, the rest of a damaged shard.

    Hidden names and thumbnails are passed over in folders and where a glob has a sign; what is
    named as it is, as by the lines of a list, is taken.

    Args:
        sources: The sources.
        exclude: Patterns of photos and folders that are left out, by their paths relative to the
            source; see `Exclusion`. They are compared with members of shards and lines of lists,
            too.

    Raises:
        ArchiveError: A source does not exist, matches nothing, cannot be reached, or is not one
            of the above.
        MissingExtraError: A source is on S3, and s3fs is not installed.
    """
    seen: set[str] = set()
    listed = []
    exclusion = Exclusion.of(exclude)
    for given in sources:
        for source in _list_given(os.fspath(given), exclusion):
            photos = []
            for photo in source.photos:
                relative = relative_path(photo.path, source.base)
                if photo.path not in seen and not exclusion.leaves_out(relative):
                    seen.add(photo.path)
                    photos.append(photo)
            listed.append(replace(source, photos=tuple(photos)))
    return listed


def _list_given(given: str, exclude: Exclusion) -> Iterator[PhotoSource]:
    fs, _ = file_system(given)
    fs.invalidate_cache()  # the listing may have changed since this process last read it
    try:
        yield from _list_source(given, exclude)
    except RecosegError:
        raise
    except Exception as error:  # each file system raises its own types of errors
        verb = "read" if is_local(fs) else "reach"
        advice = "Check the access to it, or leave it out."
        reason = reason_of(error)
        if isinstance(error, NotRegularError):
            advice = "Expected a file, a folder or a glob."
        raise ArchiveError(f"Cannot {verb} {given}: {reason}. {advice}") from error


def _list_source(given: str, exclude: Exclusion) -> Iterator[PhotoSource]:
    fs, path = file_system(given)
    if not fs.exists(path) and any(sign in given for sign in (*SIGNS, "{")):
        yield from _list_glob(given, exclude)
        return
    if not fs.exists(path):
        _check_connection(fs, path)
        raise ArchiveError(
            f"Nothing was found at {given}.\nExpected a folder of photos, a .txt file of paths, a "
            ".tar shard, an image, or a glob that matches any of these."
        )
    name = full_name(fs, path)
    parent = name.rpartition("/")[0]
    if is_folder(fs, path):
        yield PhotoSource(name, tuple(_list_folder(fs, path, exclude)), name)
    elif name.lower().endswith(".tar"):
        yield PhotoSource(name, tuple(_list_tar(fs, path, name)), name)
    elif name.lower().endswith(LIST_SUFFIXES):
        yield PhotoSource(name, tuple(list_lines(fs, path)), parent)
    elif is_image_name(name):
        yield PhotoSource(name, (located(fs, path),), parent)
    elif is_film_name(name):
        raise ArchiveError(
            f"{given} is a film. Expected photos; films on this machine are segmented by "
            "`recoseg segment --video`."
        )
    else:
        raise ArchiveError(
            f"The type of {given} is unknown. Expected a folder, a .txt or .lst file of paths, an "
            "uncompressed .tar shard, or a file with an image's extension. Films are segmented by "
            "`recoseg segment --video`."
        )


def _check_connection(fs: Any, path: str) -> None:
    """Look for the reason why a place does not exist, which web servers are not asked for before.

    Raises:
        OSError: Its server cannot be reached.
    """
    try:
        fs.info(path)
    except FileNotFoundError as error:
        if connection_error(error) is not None:
            raise


def _list_glob(given: str, exclude: Exclusion) -> Iterator[PhotoSource]:
    images: list[Photo] = []
    unread: list[Photo] = []
    matched = False
    fs, path = file_system(given)
    base = full_name(fs, fixed_part(path.replace("{", "*")))
    for pattern in _expand_braces(given):
        fs, path = file_system(pattern)
        for match in _matches(fs, path, unread, exclude):
            matched = True
            name = full_name(fs, match)
            if exclude.leaves_out(relative_path(name, base)):
                continue
            if is_image_name(name) and not is_folder(fs, match):
                images.append(located(fs, match))
            elif not (is_local(fs) and is_folder(fs, match) and format_in(Path(match))):
                yield from _list_source(name, exclude)
    if images or unread:
        yield PhotoSource(given, (*images, *unread), base)
    if not matched and not unread:
        raise ArchiveError(
            f"Nothing matches {given}{' and is not excluded' if exclude.patterns else ''}. Check "
            "the folder, and put the pattern in quotes."
        )


def _matches(fs: Any, path: str, unread: list[Photo], exclude: Exclusion) -> list[str]:
    """The paths that a glob matches, in natural order; folders that cannot be read are added."""
    if not any(sign in path for sign in SIGNS):
        return [path] if fs.exists(path) else []
    if is_local(fs):
        found = matches(path, _rules(unread, exclude))
    else:
        start = len(fixed_part(path))
        names = fs.glob(path)
        found = (name for name in names if not any(map(is_passed_over, name[start:].split("/"))))
    return sorted((match for match in found if fs.exists(match)), key=natural_key)


def _expand_braces(pattern: str) -> list[str]:
    """`a{1..3}` and `a{x,y}` to their members, as a shell does; zero padding is kept."""
    try:
        return list(braceexpand(pattern, escape=False))
    except ValueError:  # an unbalanced brace is part of a name
        return [pattern]


def _list_folder(fs: Any, root: str, exclude: Exclusion) -> list[Photo]:
    if is_local(fs):
        found = list(_walk_local(root, exclude))
    else:
        listed = fs.find(root, detail=True)
        outputs = output_folders(fs, root, listed)
        found = [
            Photo(full_name(fs, path), *remote_stamp(info))
            for path, info in listed.items()
            if _is_photo(path[len(root) :]) and not path.startswith(outputs)
        ]
    if not found:
        _check_shards(root, (p.name for p in Path(root).iterdir()) if is_local(fs) else listed)
    return sorted(found, key=lambda photo: natural_key(photo.path))


def _rules(unread: list[Photo], exclude: Exclusion) -> Rules:
    """The rules for photos; each folder that cannot be read is added to `unread`."""

    def keep(folder: str, error: OSError) -> None:
        unread.append(_unread_folder(folder, error))

    return Rules(keep, _is_output, exclude)


def _walk_local(root: str, exclude: Exclusion) -> Iterator[Photo]:
    """Photos below a local folder, and the folders that cannot be read; see `walk`."""
    unread: list[Photo] = []
    for entry in walk(root, _rules(unread, exclude)):
        if is_image_name(entry.name):
            yield printable(_photo(entry))
    yield from unread


def _is_photo(path: str) -> bool:
    """Whether a path below a source is that of a photo, by its name and those of its folders."""
    names = (name for name in path.split("/") if name not in ("", ".", ".."))
    return is_image_name(path) and not any(map(is_passed_over, names))


def _check_shards(folder: str, names: Iterable[str]) -> None:
    """Refuse a folder without photos that holds shards, which would be passed over.

    Raises:
        ArchiveError: It holds some.
    """
    shards = sum(name.lower().endswith(".tar") for name in names)
    if shards:
        raise ArchiveError(
            f"No photos in {folder}, but {shards:,} tar shards. Give these themselves, as "
            f"'{folder}/*.tar'."
        )


def _photo(entry: os.DirEntry[str]) -> Photo:
    try:
        status = entry.stat()
    except OSError:  # such as a broken link; its reading says why
        return Photo(entry.path)
    if stat.S_ISREG(status.st_mode):
        return Photo(entry.path, local_stamp(status), status.st_size)
    return Photo(entry.path, failure=f"cannot be read: {NotRegularError()}")


def _unread_folder(folder: str, error: OSError) -> Photo:
    return printable(Photo(folder, failure=f"the folder cannot be read: {why(error)}"))


def _is_output(folder: str, entries: list[os.DirEntry[str]]) -> bool:
    """Whether recoseg has written into a folder; its masks are no photos."""
    return any(entry.name in MARKS for entry in entries) and format_in(Path(folder)) is not None


def _list_tar(fs: Any, path: str, name: str) -> Iterator[Photo]:
    """The images in a shard; what cannot be listed is one more photo, the shard, with a failure."""
    try:
        stamp, size = look_up(fs, path)
    except Exception as error:  # each file system raises its own types of errors
        yield printable(Photo(name, failure=f"the tar shard cannot be read: {reason_of(error)}"))
        return
    content = read_content(fs, path, size)
    for member in content.members.values():
        if _is_photo(member.name):
            end = member.offset + member.size
            cut = cut_off(member, max(0, size - member.offset), name) if end > size >= 0 else ""
            ref = f"{name}::{member.name}"
            of_member = f"{stamp}+{member.offset}"
            yield printable(Photo(ref, of_member, member.size, member.offset, failure=cut))
    problems = [content.problem] if content.problem else []
    twice = [member for member in content.repeated if _is_photo(member.name)]
    if twice:
        problems.append(
            f"left out: {len(twice):,} with the name of an earlier member, such as "
            f"{twice[0].name!r} at byte {twice[0].offset:,}"
        )
    if problems:
        yield printable(Photo(name, stamp, failure="; ".join(problems)))
