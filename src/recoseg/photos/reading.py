"""Reading the bytes of a photo from a file or a tar shard on any file system."""

from __future__ import annotations

import tarfile
from functools import lru_cache

from recoseg.errors import BadImageError, MissingExtraError
from recoseg.photos.filesystems import file_system
from recoseg.photos.refs import Photo, look_up, split_member

MAX_BYTES = 1 << 29
"""Maximum size of a file, bytes (half a gigabyte). Larger files are refused without reading."""


class UnreadableError(BadImageError):
    """A photo whose bytes could not be read; another attempt may succeed."""


def read_photo(photo: Photo) -> bytes:
    """Read the bytes of a photo from its file, or from its tar shard if it is a member of one.

    If the offset of a member is not known, it is looked up in the shard.

    Raises:
        BadImageError: The photo does not exist, is too large or cannot be read.
        MissingExtraError: The photo is on S3, and s3fs is not installed.
    """
    outer, mark, member = split_member(photo.path)
    offset, size = photo.offset, photo.size
    try:
        fs, inner = file_system(outer)
        if mark and (offset < 0 or size < 0):
            members = _members(outer, look_up(fs, inner)[0])
            if member not in members:
                raise UnreadableError(f"cannot be read: no member {member!r} in {outer}")
            offset, size = members[member]
        elif size < 0:
            size = look_up(fs, inner)[1]
        if size > MAX_BYTES:
            raise BadImageError(f"more than {MAX_BYTES:,} bytes: {size:,}")
        span = {"start": offset, "end": offset + size} if mark else {}
        data: bytes = fs.cat_file(inner, **span)
    except (BadImageError, MissingExtraError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise UnreadableError("cannot be read: no such file") from error
    except Exception as error:  # each file system raises its own types of errors
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:200]
        raise UnreadableError(f"cannot be read: {reason or type(error).__name__}") from error
    if mark and len(data) < size:
        raise BadImageError(f"cut off: {len(data):,} of {size:,} bytes are in {outer}")
    return data


@lru_cache(maxsize=8)
def _members(shard: str, stamp: str) -> dict[str, tuple[int, int]]:
    """Offset and size of each regular member; if `stamp` changes, the shard is read again."""
    fs, path = file_system(shard)
    with fs.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
        return {
            member.name: (member.offset_data, member.size)
            for member in tar
            if member.isreg() and not member.issparse()
        }
