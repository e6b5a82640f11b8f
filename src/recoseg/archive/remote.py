"""Listing and fetching the files of an index on another machine: bounded, and names checked."""

from __future__ import annotations

import html
import posixpath
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin

from recoseg.archive.layout import FOLDERS
from recoseg.errors import ArchiveError, FileError
from recoseg.photos.filesystems import connection_error, reason_of
from recoseg.storage.checksums import write_with_checksum
from recoseg.storage.paths import inside

MAX_FILES = 4_000_000
"""Maximum number of files of a remote index, four for each shard."""
MAX_FILE = 1 << 36
"""Maximum size of a file of a remote index if nothing else is known about it, bytes (64 GiB)."""

MAX_PAGE = 1 << 26
"""Maximum size of a page that lists the files of a folder, bytes."""
_CHUNK = 1 << 20
_LINK = re.compile(r"""<a\s[^<>]*?href\s*=\s*(?:"([^"<>]*)"|'([^'<>]*)'|([^\s"'<>]+))""", re.I)
_TAGS = ("ETag", "etag", "Content-MD5", "Last-Modified", "LastModified", "last_modified")
_TIMES = ("mtime", "created")


@dataclass(frozen=True)
class RemoteFile:
    """A file on another machine.

    Attributes:
        path: Its path on its file system.
        size: Size, bytes; -1 if not known.
        tag: What the server says about its content, such as an entity tag; empty if nothing.
    """

    path: str
    size: int = -1
    tag: str = ""


class RemoteFolder:
    """The folder of an index on an fsspec file system.

    Args:
        fs: The file system.
        base: Path of the folder.
        url: Its URL, for messages.
    """

    def __init__(self, fs: Any, base: str, url: str) -> None:
        protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
        self._is_http = "http" in protocols
        self._fs = fs
        self._base = base.rstrip("/")
        self.url = url

    def files(self, root: Path) -> dict[str, RemoteFile]:
        """The files of the index by name, such as `metadata/metadata_0.parquet`.

        Only the folder and the four folders of an index are listed. Hidden files are left out.

        Args:
            root: The local folder that will hold copies of them.

        Raises:
            ArchiveError: The folder cannot be listed, has too many files, or any of the names
                leaves it.
        """
        found: dict[str, RemoteFile] = {}
        try:
            self._fs.invalidate_cache()  # the listing may have changed since this process read it
            for folder in ("", *FOLDERS):
                for name, file in self._list(folder):
                    inside(root, unquote(name))  # some servers decode names
                    inside(root, name)
                    if file and not posixpath.basename(name).startswith("."):
                        found[name] = file
                    if len(found) > MAX_FILES:
                        raise ArchiveError(f"it has more than {MAX_FILES:,} files")
        except FileError as error:
            raise ArchiveError(
                f"The index at {self.url} is refused, and nothing was fetched. {error}"
            ) from error
        except Exception as error:  # each file system raises its own types of errors
            raise ArchiveError(f"Cannot reach the index at {self.url}: {_line(error)}.") from error
        if not found:
            raise ArchiveError(
                f"No index was found at {self.url}: the folder is empty or missing, or the server "
                "does not list it."
            )
        return found

    def described(self, file: RemoteFile) -> RemoteFile:
        """The file with what the server says about it, where the listing says nothing."""
        if file.tag:
            return file
        try:
            return _file(file.path, self._fs.info(file.path))
        except Exception:  # it says nothing
            return file

    def fetch(
        self, name: str, file: RemoteFile | None, target: Path, limit: int, recorded: str = ""
    ) -> None:
        """Copy a file to this machine; it is complete or absent.

        Args:
            name: Name of the file in the folder.
            file: What the listing says about it; None if it is not listed.
            target: The local file.
            limit: Maximum size, bytes.
            recorded: Checksum of the file; empty if none was recorded.

        Raises:
            ArchiveError: It cannot be fetched, is too large, has another size than the listing
                says, or another checksum.
        """
        file = file or RemoteFile(f"{self._base}/{name}")
        if file.size > limit:
            raise ArchiveError(
                f"{file.path} has {file.size:,} bytes. Expected {limit:,} or less; it was not "
                "fetched."
            )

        def copy(out: Any) -> None:
            done = 0
            for part in self._parts(file.path):
                done += len(part)
                if done > limit:
                    raise FileError(f"it has more than {limit:,} bytes")
                out.write(part)
            if file.size >= 0 and done != file.size:
                raise FileError(f"got {done:,} of {file.size:,} bytes")

        def copy_checked(out: Any) -> None:
            copy(out)
            found = out.digest.hexdigest()
            if recorded and found != recorded:
                raise FileError(
                    f"its checksum is {found}, but {recorded} was recorded: it is damaged, or the "
                    "index has changed since it was opened"
                )

        try:
            write_with_checksum(target, copy_checked)
        except Exception as error:  # each file system raises its own types of errors
            raise ArchiveError(f"Cannot fetch {file.path}: {_line(error)}.") from error

    def _parts(self, path: str) -> Iterator[bytes]:
        # Without blocks, HTTP is read as a stream, whether or not the server knows ranges.
        options = {"block_size": 0} if self._is_http else {}
        with self._fs.open(path, "rb", **options) as file:
            while part := file.read(_CHUNK):
                yield part

    def _list(self, folder: str) -> Iterator[tuple[str, RemoteFile | None]]:
        """Names below the base, each with its file; None for folders."""
        place = f"{self._base}/{folder}".rstrip("/")
        try:
            entries = self._links(f"{place}/") if self._is_http else self._entries(place)
            for path, name, info in entries:
                name = f"{folder}/{name}" if folder else name
                is_folder = info.get("type") == "directory" or name in FOLDERS
                yield name, None if is_folder else _file(path, info)
        except FileNotFoundError as error:
            if connection_error(error) is not None:
                raise

    def _entries(self, place: str) -> Iterable[tuple[str, str, dict[str, Any]]]:
        for info in self._fs.ls(place, detail=True):
            path = str(info["name"])
            name = path.removeprefix(f"{place}/").removesuffix("/")
            if name and path.rstrip("/") != place:  # some stores hold an empty file for a folder
                yield path, name, info

    def _links(self, page: str) -> Iterable[tuple[str, str, dict[str, Any]]]:
        """The links of a page that lead to files or folders directly below it."""
        data = bytearray()
        for part in self._parts(page):
            data += part
            if len(data) > MAX_PAGE:
                raise ArchiveError(f"the page {page} has more than {MAX_PAGE:,} bytes")
        found = _LINK.findall(data.decode("utf-8", "replace"))
        for link in dict.fromkeys(html.unescape("".join(parts)) for parts in found):
            try:
                target = urldefrag(urljoin(page, link)).url
            except ValueError:  # no URL
                continue
            if target.startswith(page) and "?" not in target:
                name = target.removeprefix(page)
                kind = "directory" if name.endswith("/") else "file"
                if name.rstrip("/"):
                    yield target, unquote(name.removesuffix("/")), {"type": kind}


def _file(path: str, info: dict[str, Any]) -> RemoteFile:
    size, tag = (
        info.get("size"),
        next((info[key] for key in (*_TAGS, *_TIMES) if info.get(key)), ""),
    )
    return RemoteFile(path, size if isinstance(size, int) else -1, str(tag))


def _line(error: Exception) -> str:
    return reason_of(error)[:300].removesuffix(".")
