"""The members of tar shards, found by one walk for every purpose.

Shards come from strangers, and disks and networks damage them. `tarfile` ends silently at a damaged
header, follows sizes backwards, and reads headers of any length into memory, so this module walks
the headers itself; `tarfile` parses single blocks. The formats are ustar, GNU and pax. Sparse files
and global pax headers are passed over.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, BinaryIO

from recoseg.photos.files import open_file
from recoseg.storage.reading import why

MAX_EXTRA = 1 << 20
"""Maximum size of what stands before a member's own header (long names, pax), bytes."""

MAX_NAME = 4096
"""Maximum length of a member's name, characters."""

_BLOCK = tarfile.BLOCKSIZE
_MOST_PADDING = 1 << 20  # zeros after the end; writers fill up to a record, of 10,240 bytes mostly
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)


@dataclass(frozen=True)
class Member:
    """A file in a shard.

    Attributes:
        name: Its name.
        offset: Position of its first byte in the shard.
        size: Its size, bytes.
    """

    name: str
    offset: int
    size: int


class ShardError(Exception):
    """Why the rest of a shard cannot be listed, with the position in the shard."""


class _AtError(Exception):
    """What is wrong at the position that the walk has reached."""


@dataclass(frozen=True)
class ShardContent:
    """What is in a shard.

    Attributes:
        members: Its files by name, in order; of equal names the first.
        repeated: Later files of the same names, which are not used.
        problem: Why there may be more files that cannot be listed; empty if there are none.
    """

    members: dict[str, Member]
    repeated: tuple[Member, ...] = ()
    problem: str = ""


def read_content(fs: Any, path: str, size: int = -1) -> ShardContent:
    """All files of a shard; see `walk`, whose error becomes the problem."""
    members: dict[str, Member] = {}
    repeated: list[Member] = []
    problem = ""
    try:
        for member in walk(fs, path, size):
            first = members.setdefault(member.name, member)
            repeated += [] if first is member else [member]
    except ShardError as error:
        problem = str(error)
    return ShardContent(members, tuple(repeated), problem)


def cut_off(member: Member, present: int, shard: str) -> str:
    """The reason why a member of which only some bytes are present cannot be used."""
    return f"cut off: {present:,} of {member.size:,} bytes are in {shard}"


def walk(fs: Any, path: str, size: int = -1) -> Iterator[Member]:
    """The files in a shard, in order. Of one whose data is cut off the size is the whole one.

    A shard ends with a block of zeros, or two. One that ends without, even after a whole member,
    may have been cut off there, which is an error; so is data after the end, such as that of a
    second archive, or of members whose headers have been overwritten by zeros.

    Args:
        fs: File system of the shard.
        path: Its path within that.
        size: Its size, bytes; -1 if not known.

    Raises:
        ShardError: What follows the members so far cannot be listed.
    """
    at = 0
    try:
        with open_file(fs, path) as file:
            entry = _Entry()
            while (found := _next(file, at, entry)) is not None:
                entry, at = found
                if entry.member is not None:
                    yield entry.member
                if at > size >= 0:
                    raise _AtError("the end-of-archive marker is missing")
            _check_end(file, at, size)
    except _AtError as error:
        raise ShardError(_damaged(at if size < 0 else min(at, size), str(error))) from error
    except Exception as error:  # each file system raises its own types of errors
        raise ShardError(f"the tar shard cannot be read: {why(error)}") from error


def _damaged(at: int, reason: str) -> str:
    if not at:
        return f"the tar shard is damaged or compressed: {reason}"
    return (
        f"the tar shard is damaged or cut off at byte {at:,} ({reason}); what follows is left out"
    )


@dataclass(frozen=True)
class _Entry:
    """A header: the member, if it is one, and what an extra header says of the next member."""

    member: Member | None = None
    name: str | None = None
    size: int | None = None
    sparse: bool = False
    extra: int = 0  # bytes of extra headers so far


def _next(file: BinaryIO, at: int, before: _Entry) -> tuple[_Entry, int] | None:
    """The header at a position, and the position of the next one; None at the end."""
    block = _read(file, at, _BLOCK)
    if not block:
        raise _AtError("the end-of-archive marker is missing" if at else "the file is empty")
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        if block == bytes(_BLOCK):
            return None
        raise _AtError(str(error)) from error
    data = at + _BLOCK
    if info.size < 0:
        raise _AtError("a header with a negative size")
    if info.type in _PAX or info.type in _LONG:
        extra = before.extra + _BLOCK + info.size
        if extra > MAX_EXTRA:
            raise _AtError(f"a header of more than {MAX_EXTRA:,} bytes")
        body = _read(file, data, info.size)
        if len(body) < info.size:
            raise _AtError("a header is cut off")
        return _extra(info, body, replace(before, member=None, extra=extra)), data + _whole(info)
    if info.type == tarfile.XGLTYPE:
        return replace(before, member=None), data + _whole(info)
    if info.type == tarfile.GNUTYPE_SPARSE:
        more = block[482]
        while more:
            block = _read(file, data, _BLOCK)
            if len(block) < _BLOCK:
                raise _AtError("a header is cut off")
            more, data = block[504], data + _BLOCK
        return _Entry(), data + _whole(info)
    if info.type in tarfile.SUPPORTED_TYPES and info.type not in _REGULAR:
        return _Entry(), data  # links and folders have no data, whatever size they claim
    info.size = info.size if before.size is None else before.size
    name = info.name if before.name is None else before.name
    if len(name) > MAX_NAME:
        raise _AtError(f"a name of {len(name):,} characters")
    member = Member(name, data, info.size)
    if before.sparse or not info.isreg():
        return _Entry(), data + _whole(info)
    return _Entry(member), data + _whole(info)


def _extra(info: tarfile.TarInfo, body: bytes, before: _Entry) -> _Entry:
    """What an extra header says of the next member, in addition to those before it."""
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return replace(before, name=_text(body.partition(b"\0")[0]))
    if info.type == tarfile.GNUTYPE_LONGLINK:
        return before
    records = _pax_records(body)
    sparse = before.sparse or any(key.startswith(b"GNU.sparse.") for key in records)
    before = replace(before, sparse=sparse)
    if b"path" in records:
        before = replace(before, name=_text(records[b"path"]).rstrip("/"))
    if b"size" in records:
        if not records[b"size"].isdigit() or len(records[b"size"]) > 20:
            raise _AtError("a pax header whose size is not a number")
        before = replace(before, size=int(records[b"size"]))
    return before


def _pax_records(body: bytes) -> dict[bytes, bytes]:
    """The records `LENGTH KEY=VALUE` of a pax header; the length counts the whole record."""
    records = {}
    while body and body[0]:  # zeros may fill up the header
        digits, space, _ = body[:20].partition(b" ")
        length = int(digits) if space and digits.isdigit() else 0
        key, equals, value = body[len(digits) + 1 : length - 1].partition(b"=")
        if not equals or length > len(body) or body[length - 1 : length] != b"\n":
            raise _AtError("a damaged pax header")
        records[key] = value
        body = body[length:]
    return records


def _check_end(file: BinaryIO, at: int, size: int) -> None:
    """Refuse data after the end-of-archive marker.

    Raises:
        _AtError: There is some.
    """
    rest = _read(file, at, _MOST_PADDING + 1)
    if any(rest) or size - at > _MOST_PADDING:
        raise _AtError("data follows the end-of-archive marker")


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    parts = []
    while count and (part := file.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _whole(info: tarfile.TarInfo) -> int:
    """Size of the data in whole blocks, bytes."""
    return -(-info.size // _BLOCK) * _BLOCK


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
