"""Reading the bytes of a photo from a file or a tar shard on any file system."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from recoseg.errors import BadImageError
from recoseg.photos import files
from recoseg.photos.files import read_up_to
from recoseg.photos.filesystems import file_system, is_url, reason_of
from recoseg.photos.refs import Photo, is_local, look_up, split_member
from recoseg.photos.shards import Member, ShardContent, cut_off, read_content


class UnreadableError(BadImageError):
    """A photo whose bytes could not be read; another attempt may succeed."""


def read_photo(photo: Photo) -> bytes:
    """Read the bytes of a photo from its file, or from its tar shard if it is a member of one.

    If the offset of a member is not known, it is looked up in the shard. At most `MAX_BYTES` are
    read, whatever size the file system tells.

    Raises:
        BadImageError: The photo does not exist, is too large or cannot be read.
    """
    outer, mark, member = split_member(photo.path)
    if mark and photo.offset < 0 and not is_url(outer) and Path(photo.path).is_file():
        outer, mark = photo.path, ""  # names of files may hold anything
    try:
        fs, inner = file_system(outer)
        return _read_member(fs, inner, outer, photo, member) if mark else _read(fs, inner, photo)
    except (BadImageError, MemoryError):
        raise
    except Exception as error:  # each file system raises its own types of errors
        raise UnreadableError(f"cannot be read: {reason_of(error)}") from error


def _read(fs: Any, path: str, photo: Photo) -> bytes:
    _check_size(photo.size)
    data = read_up_to(fs, path, files.MAX_BYTES + 1)
    _check_size(len(data))
    if len(data) < photo.size and not is_local(fs):
        # Either the file has changed since it was listed, or the connection has lost a part.
        fs.invalidate_cache()
        size = look_up(fs, path)[1]
        if len(data) < size:
            raise _lost(len(data), size)
    return data


def _read_member(fs: Any, path: str, shard: str, photo: Photo, name: str) -> bytes:
    member = Member(name, photo.offset, photo.size)
    if member.offset < 0 or member.size < 0:
        content = _members(shard, *look_up(fs, path))
        if name not in content.members:
            problem = f" ({content.problem})" if content.problem else ""
            raise UnreadableError(f"cannot be read: no member {name!r} in {shard}{problem}")
        member = content.members[name]
    _check_size(member.size)
    data = read_up_to(fs, path, member.size, member.offset) if member.size else b""
    if len(data) < member.size:
        if is_local(fs):
            raise BadImageError(cut_off(member, len(data), shard))
        raise _lost(len(data), member.size)
    return data


def _check_size(size: int) -> None:
    if size > files.MAX_BYTES:
        raise BadImageError(f"more than {files.MAX_BYTES:,} bytes")


def _lost(found: int, size: int) -> UnreadableError:
    return UnreadableError(f"cannot be read: only {found:,} of {size:,} bytes were received")


@lru_cache(maxsize=8)
def _members(shard: str, stamp: str, size: int) -> ShardContent:
    """The content of a shard; if `stamp` changes, the shard is read again."""
    fs, path = file_system(shard)
    return read_content(fs, path, size)
