"""Reading files of any file system: never without a bound, and of local ones only regular files."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, cast

from recoseg.photos.refs import is_image_name, is_local
from recoseg.storage.reading import open_regular

MAX_BYTES = 1 << 29
"""Maximum size of a photo's or a mask's file, bytes (half a gigabyte)."""

MAX_LIST = 1 << 31
"""Maximum size of a list of photos, bytes (2 GiB)."""

LIST_SUFFIXES = (".txt", ".lst")
"""Extensions of lists of photos."""

MAX_PAGE = 1 << 24
"""Maximum size of a web page whose links are listed as photos, bytes (16 MiB)."""

_HTTP_CHUNK = 1 << 20


def open_file(fs: Any, path: str) -> AbstractContextManager[BinaryIO]:
    """Open a file in which any position can be read.

    Args:
        fs: Its fsspec file system.
        path: Its path within that.

    Raises:
        Exception: It cannot be opened; each file system raises its own types of errors.
    """
    return open_regular(Path(path)) if is_local(fs) else cast(Any, fs.open(path, "rb"))


def read_up_to(fs: Any, path: str, count: int, start: int = 0) -> bytes:
    """The first bytes of a file, or those from a position on, whatever size it claims to have.

    Args:
        fs: Its fsspec file system.
        path: Its path within that.
        count: Maximum number of bytes, at least 1.
        start: Position of the first byte.

    Returns:
        `count` bytes, or fewer where the file ends.

    Raises:
        Exception: It cannot be read; each file system raises its own types of errors.
    """
    if is_local(fs):
        with open_regular(Path(path)) as file:
            file.seek(start)
            return file.read(count)
    if is_http(fs):
        return _stream(fs, path, count, start)
    # Services that keep files answer a range beyond the end of an empty file with an error.
    if not start and fs.info(path).get("size") == 0:
        return b""
    return cast(bytes, fs.cat_file(path, start=start, end=start + count))


def is_folder(fs: Any, path: str) -> bool:
    """Whether a path is a folder; on web servers, a page with links.

    fsspec would download any file of a web server as a page, so only pages of usual size whose
    names are not those of photos, lists or shards are looked at.

    Raises:
        Exception: It cannot be found out; each file system raises its own types of errors.
    """
    if is_http(fs):
        if is_image_name(path) or path.lower().endswith((".tar", *LIST_SUFFIXES)):
            return False
        if fs.info(path).get("mimetype") != "text/html":
            return False
        if len(read_up_to(fs, path, MAX_PAGE + 1)) > MAX_PAGE:
            return False
    return bool(fs.isdir(path))


def is_http(fs: Any) -> bool:
    """Whether an fsspec file system is that of web servers, which may say and send anything."""
    return "http" in ((fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol)


def _stream(fs: Any, url: str, count: int, start: int) -> bytes:
    """As `read_up_to`, from a server that need not tell the size, or tells a wrong one."""
    headers = {**fs.kwargs.get("headers", {}), "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-{start + count - 1}"
    # `block_size` 0 asks for a stream; with a size, the server is not asked for it.
    with fs.open(url, "rb", block_size=0, size=1, headers=headers) as stream:
        if start and stream.r.status != 206:
            raise OSError("the server does not send parts of files")
        parts, missing = [], count
        while missing and (part := stream.read(min(missing, _HTTP_CHUNK))):
            parts.append(part)
            missing -= len(part)
    return b"".join(parts)
