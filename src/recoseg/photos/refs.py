"""Photos by path on any file system, and stamps that show whether a file has changed."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import unicodedata
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from recoseg.storage.reading import NotRegularError

_SUFFIXES = """
.jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .pnm .avif .jp2 .mpo
.heic .heif .jxl .dng
"""
IMAGE_SUFFIXES = frozenset(_SUFFIXES.split())
"""Extensions of files that are treated as photos, in lower case; case is ignored."""

_MEMBER = re.compile(r"(\.tar)::", re.IGNORECASE)


@dataclass(frozen=True)
class Photo:
    """A photo and what is known about it.

    Listing a source sets path, stamp, size and offset. Reading the photo sets hash, width and
    height. If the photo cannot be used, it gets a failure.

    Attributes:
        path: A local path, a URL, or `shard.tar::member` for a member of a tar shard; empty for a
            photo that was given as pixels or bytes.
        stamp: Size and modification time (or entity tag) of the file; for a member, those of the
            shard and the member's offset. Empty if the file cannot be accessed. Equal stamps mean
            equal content.
        size: Size of the file or member, bytes; -1 if not known.
        offset: Position of a member's first byte in its shard; -1 if the photo is not a member or
            the position is not known.
        width: Width of the upright photo, pixels; 0 if not known.
        height: Height of the upright photo, pixels; 0 if not known.
        hash: BLAKE2b hash of the bytes, 32 hex digits; empty if not known.
        failure: Why the photo cannot be used; empty if no reason is known.
        below: Path of the photo below the folder that was given, with `/` between its parts; empty
            if it was given alone. It says nothing about the photo itself.
    """

    path: str
    stamp: str = ""
    size: int = -1
    offset: int = -1
    width: int = 0
    height: int = 0
    hash: str = ""
    failure: str = ""
    below: str = field(default="", compare=False)

    @property
    def id(self) -> str:
        """32 hex digits that identify the content, or the path if no hash is known."""
        return self.hash or self.path_id

    @property
    def path_id(self) -> str:
        """32 hex digits that identify the path."""
        path = self.path.encode("utf-8", "surrogateescape")
        return hashlib.blake2b(path, digest_size=16).hexdigest()

    def failed(self, reason: str, *, retry: bool = False) -> Photo:
        """A copy of the photo with the reason why it cannot be used.

        Args:
            reason: The reason, without the path of the photo.
            retry: Whether to try the photo again in the next run even if the file has not changed;
                its stamp is then cleared.
        """
        return replace(self, failure=reason, stamp="" if retry else self.stamp)


def is_image_name(name: str) -> bool:
    """Whether a file name has the extension of an image and is not hidden."""
    leaf = Path(name)
    return leaf.suffix.lower() in IMAGE_SUFFIXES and not leaf.name.startswith(".")


def composed(name: str) -> str:
    r"""A name in the form in which names of different files are compared (NFC).

    The same name may be stored in two ways: Macs write an accent after its letter.

    Example:
        >>> composed("cafe\u0301") == "caf\u00e9"
        True
    """
    return unicodedata.normalize("NFC", name)


def natural_key(text: str) -> tuple[list[tuple[int, int | str]], str]:
    """A sort key that orders numbers in names by value: `img9` before `img10`."""
    parts = [part for part in re.split(r"(\d+)", text) if part]
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts], text


def look_up(fs: Any, path: str) -> tuple[str, int]:
    """The stamp of a file, which identifies its content without reading it, and its size in bytes.

    Raises:
        NotRegularError: It is a folder, a device, a pipe or a socket on this machine.
        OSError: The file does not exist or cannot be accessed.
        Exception: Other file systems raise their own types of errors.
    """
    if is_local(fs):
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise NotRegularError
        return local_stamp(status), status.st_size
    return remote_stamp(fs.info(path))


def is_local(fs: Any) -> bool:
    """Whether an fsspec file system is the local one."""
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def full_name(fs: Any, path: str) -> str:
    """The path as it is recorded: unchanged for local files, a URL otherwise."""
    return path if is_local(fs) else str(fs.unstrip_protocol(path))


def remote_stamp(info: dict[str, Any]) -> tuple[str, int]:
    """The stamp and the size in bytes (-1 if not known) of a file, from its fsspec description."""
    keys = ("ETag", "etag", "mtime", "LastModified", "last_modified", "created")
    tag = next((info[key] for key in keys if info.get(key)), "")
    size = info.get("size")
    return f"{int(size or 0)}-{tag}", -1 if size is None else int(size)


def local_stamp(status: os.stat_result) -> str:
    """The stamp of a local file."""
    return f"{status.st_size}-{status.st_mtime_ns}"


def split_member(path: str) -> tuple[str, str, str]:
    """Split `shard.tar::member` into shard, `::` and member; the last two are empty for files.

    Other names may hold `::`, too.

    Example:
        >>> split_member("a/b.tar::c/d.png"), split_member("a/12::30.jpg")
        (('a/b.tar', '::', 'c/d.png'), ('a/12::30.jpg', '', ''))
    """
    found = _MEMBER.search(path)
    if found is None:
        return path, "", ""
    return path[: found.end(1)], "::", path[found.end() :]


def printable(photo: Photo) -> Photo:
    """The photo; if its path is not UTF-8, which tables require, an escaped path and a failure."""
    try:
        photo.path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(photo.path).decode("utf-8", "backslashreplace")
        return replace(photo, path=shown).failed("the file's name is not UTF-8")
    return photo
