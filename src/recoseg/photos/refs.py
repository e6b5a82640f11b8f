"""Names of photos on any file system, and the stamps that tell whether they have changed."""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_SUFFIXES = """
.jpg .jpeg .jpe .jfif .png .webp .gif .bmp .tif .tiff .ppm .pgm .pbm .pnm .avif .jp2 .mpo
.heic .heif
"""
IMAGE_SUFFIXES = frozenset(_SUFFIXES.split())
"""Extensions, in any case, of the files that are taken for photos."""


@dataclass(frozen=True)
class Photo:
    """One photo, from where it was listed to its mask.

    Each step fills in what it finds out: listing gives path, stamp, size and offset; reading gives
    hash, width and height; if something goes wrong, the photo gets a failure.

    Attributes:
        path: A local path, a URL, or `shard.tar::member` for a member of a tar shard; empty for a
            photo that was given as pixels or bytes.
        stamp: Size and time (or entity tag) of the file, and for a member those of the shard and
            its offset; empty where the file cannot be accessed. Equal stamps mean equal content.
        size: Bytes of the file or member; -1 where not known.
        offset: Where a member's bytes start in its shard; -1 for a file of its own, or not known.
        width: Pixels, of the upright photo; 0 where not known.
        height: Pixels, of the upright photo; 0 where not known.
        hash: 32 hex digits, BLAKE2b of the bytes; empty where not known.
        failure: Why the photo cannot be used; empty where nothing is known against it.
    """

    path: str
    stamp: str = ""
    size: int = -1
    offset: int = -1
    width: int = 0
    height: int = 0
    hash: str = ""
    failure: str = ""

    @property
    def id(self) -> str:
        """32 hex digits that name the content, or the path where no hash is known."""
        return self.hash or hashlib.blake2b(self.path.encode(), digest_size=16).hexdigest()

    def failed(self, reason: str, *, retry: bool = False) -> Photo:
        """The photo with the reason why it cannot be used.

        Args:
            reason: The reason alone, without the photo's name.
            retry: Whether it is worth another try although the file has not changed; the stamp is
                left out then.
        """
        return replace(self, failure=reason, stamp="" if retry else self.stamp)


def is_image_name(name: str) -> bool:
    """Whether a name has an image's extension and is not hidden."""
    leaf = Path(name)
    return leaf.suffix.lower() in IMAGE_SUFFIXES and not leaf.name.startswith(".")


def natural_key(text: str) -> tuple[list[tuple[int, int | str]], str]:
    """A key that sorts numbers in names by value: `img9` before `img10`."""
    parts = [part for part in re.split(r"(\d+)", text) if part]
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts], text


def look_up(fs: Any, path: str) -> tuple[str, int]:
    """A file's stamp (what identifies its content without reading it) and its size in bytes.

    Raises:
        OSError: There is no such file.
    """
    if is_local(fs):
        status = Path(path).stat()
        return local_stamp(status), status.st_size
    return remote_stamp(fs.info(path))


def is_local(fs: Any) -> bool:
    """Whether an fsspec file system is this machine's own."""
    return "file" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def full_name(fs: Any, path: str) -> str:
    """The path as it is recorded: absolute for local files, a URL otherwise."""
    return path if is_local(fs) else str(fs.unstrip_protocol(path))


def remote_stamp(info: dict[str, Any]) -> tuple[str, int]:
    """Stamp and size from fsspec's description of a file."""
    keys = ("ETag", "etag", "mtime", "LastModified", "last_modified", "created")
    tag = next((info[key] for key in keys if info.get(key)), "")
    size = int(info.get("size") or 0)
    return f"{size}-{tag}", size


def local_stamp(status: os.stat_result) -> str:
    """The stamp of a local file."""
    return f"{status.st_size}-{status.st_mtime_ns}"


def split_member(path: str) -> tuple[str, str, str]:
    """`shard.tar::member` to its shard, `::` and member; both empty for a file of its own."""
    head, mark, member = path.partition(".tar::")
    return (f"{head}.tar", "::", member) if mark else (path, "", "")


def printable(photo: Photo) -> Photo:
    """A photo whose name is not UTF-8 gets an escaped name and a failure: tables need UTF-8."""
    try:
        photo.path.encode()
    except UnicodeEncodeError:
        shown = os.fsencode(photo.path).decode("utf-8", "backslashreplace")
        return replace(photo, path=shown).failed("the file's name is not UTF-8")
    return photo
