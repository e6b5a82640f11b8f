"""Local copies of indexes on other machines, fetched file by file when they are needed."""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from recoseg.archive.layout import (
    MARKER_BYTES,
    Shard,
    is_shard_file,
    read_shards,
    shard_files,
)
from recoseg.archive.manifest import MANIFEST, MANIFEST_BYTES
from recoseg.archive.remote import MAX_FILE, RemoteFile, RemoteFolder
from recoseg.archive.rows import map_rows
from recoseg.archive.tables import largest_table
from recoseg.errors import ArchiveError
from recoseg.photos.filesystems import file_system
from recoseg.storage.cache import cache_folder
from recoseg.storage.paths import inside
from recoseg.storage.reading import read_bytes

T = TypeVar("T")
R = TypeVar("R")

_KEPT_SECONDS = 24 * 3600
"""A copy that a newer one has superseded is removed if it was not opened for this long."""
_HEADER_BYTES = 4096
_THREADS = 16
_STATE = re.compile("[0-9a-f]{16}|[.]tmp-.*")


@dataclass(frozen=True)
class Mirror:
    """A local copy of a remote index, at first without its embeddings.

    The folder is `indexes/URL/STATE` in the cache, both as hashes. The state consists of what the
    server says about each file, such as entity tags. Where the listing says nothing, as over HTTP,
    manifest and markers are fetched each time, and the checksums in the markers identify all other
    files; files without a checksum are identified by the server's headers, or fetched anew each
    time if it sends none that help. So an index that has changed gets a new copy. Copies that it
    supersedes are removed once they have not been opened for a day.

    Attributes:
        root: The local folder.
    """

    root: Path
    _remote: RemoteFolder
    _files: dict[str, RemoteFile]

    @classmethod
    def of(cls, url: str) -> Mirror:
        """Copy the index at a URL that fsspec supports to `$RECOSEG_CACHE/indexes`.

        Raises:
            ArchiveError: No index was found, it cannot be reached, a file is damaged or too large,
                or a file's name points outside the folder; nothing was fetched then.
            MissingExtraError: The URL is on S3, and s3fs is not installed.
        """
        fs, base = file_system(url)
        home = cache_folder("indexes") / _hash(url)
        remote = RemoteFolder(fs, base, url)
        mirror = cls(home / ("0" * 16), remote, _used(remote.files(home / ("0" * 16))))
        mirror = mirror._of_index() if MANIFEST in mirror._files else mirror._of_foreign()
        os.utime(mirror.root)
        _remove_superseded(home, mirror.root)
        return mirror

    def fetch(self, path: Path, limit: int, recorded: str = "") -> Path:
        """Fetch a file of the mirror if it is not on this machine yet; return its path.

        Args:
            path: The file's place in the mirror.
            limit: Maximum size, bytes.
            recorded: Checksum of the file; empty if none was recorded.

        Raises:
            ArchiveError: The file cannot be fetched, is too large, or has another checksum.
        """
        name = path.relative_to(self.root).as_posix()
        target = inside(self.root, name)
        if not target.exists():
            self._remote.fetch(name, self._files.get(name), target, limit, recorded)
        return target

    def _of_index(self) -> Mirror:
        """The mirror of an index of recoseg, with all but its embeddings."""
        if all(file.tag for file in self._files.values()):
            tags = {name: (file.size, file.tag) for name, file in self._files.items()}
            mirror = self._in(_hash(tags))
            shards = mirror._fetch_markers()
        else:
            # Fetched before it is known whether they are those of a copy that is there.
            self.root.parent.mkdir(parents=True, exist_ok=True)
            first = self._in(Path(tempfile.mkdtemp(prefix=".tmp-", dir=self.root.parent)).name)
            try:
                shards = first._fetch_markers()
                mirror = first._described(shards)
                if not mirror.root.exists():
                    first.root.rename(mirror.root)
            except OSError as error:  # another process has just made the same copy
                if not mirror.root.exists():
                    raise ArchiveError(f"Cannot copy {self._remote.url}: {error}") from error
            finally:
                shutil.rmtree(first.root, ignore_errors=True)
        mirror._fetch_tables(shards)
        return mirror

    def _of_foreign(self) -> Mirror:
        """The mirror of a folder of clip-retrieval, with all of its files."""
        names = list(self._files)
        found = _threaded(self._remote.described, self._files.values())
        files = dict(zip(names, found, strict=True))
        state = {name: (file.size, file.tag or secrets.token_hex()) for name, file in files.items()}
        mirror = replace(self._in(_hash(state)), _files=files)
        _threaded(lambda name: mirror.fetch(mirror.root / name, MAX_FILE), names)
        mirror.root.mkdir(parents=True, exist_ok=True)
        return mirror

    def _in(self, state: str) -> Mirror:
        return replace(self, root=self.root.parent / state)

    def _fetch_markers(self) -> list[Shard]:
        self.fetch(self.root / MANIFEST, MANIFEST_BYTES)
        markers = [self.root / name for name in self._files if name.startswith("shards/")]
        _threaded(lambda path: self.fetch(path, MARKER_BYTES), markers)
        return read_shards(self.root)[0]

    def _described(self, shards: Sequence[Shard]) -> Mirror:
        """The mirror of what manifest and markers say; files without checksum by their headers."""
        files = dict(self._files)
        unsure = [
            path.relative_to(self.root).as_posix()
            for shard in shards
            for path, recorded, _ in _data_files(self.root, shard)
            if not recorded
        ]
        unsure = [name for name in unsure if name in files]
        found = _threaded(self._remote.described, [files[name] for name in unsure])
        files.update(zip(unsure, found, strict=True))
        state = (
            read_bytes(self.root / MANIFEST, MANIFEST_BYTES),
            [repr(shard) for shard in shards],
            [(name, files[name].size, files[name].tag or secrets.token_hex()) for name in unsure],
        )
        return replace(self._in(_hash(state)), _files=files)

    def _fetch_tables(self, shards: Sequence[Shard]) -> None:
        tables = [
            (path, recorded, rows)
            for shard in shards
            for path, recorded, rows in _data_files(self.root, shard)
            if path.suffix == ".parquet"
        ]
        _threaded(lambda table: self.fetch(table[0], largest_table(table[2]), table[1]), tables)


class RemoteRows:
    """Embeddings of a shard that are fetched and memory-mapped when they are first used.

    Args:
        mirror: The mirror of the index.
        path: The file of the embeddings in the mirror.
        shape: (n, d), from the shard's marker.
        recorded: Checksum of the file; empty if none was recorded.
    """

    def __init__(
        self, mirror: Mirror, path: Path, shape: tuple[int, int], recorded: str = ""
    ) -> None:
        self._mirror = mirror
        self._path = path
        self._recorded = recorded
        self._rows: np.ndarray | None = None
        self.shape = shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: int | slice) -> np.ndarray:
        if self._rows is None:
            limit = 2 * self.shape[0] * self.shape[1] + _HEADER_BYTES
            path = self._mirror.fetch(self._path, limit, self._recorded)
            self._rows = map_rows(path, self.shape[1], self.shape[0])
        found: np.ndarray = self._rows[key]
        return found


def _used(files: dict[str, RemoteFile]) -> dict[str, RemoteFile]:
    """The files that are read: of an index those of its layout, else arrays and tables."""
    if MANIFEST in files:
        return {name: files[name] for name in files if name == MANIFEST or is_shard_file(name)}
    kinds = {"img_emb": ".npy", "metadata": ".parquet"}
    return {
        name: file
        for name, file in files.items()
        if name.count("/") == 1 and name.endswith(kinds.get(name.split("/")[0], "/"))
    }


def _data_files(root: Path, shard: Shard) -> list[tuple[Path, str, int]]:
    """Embeddings, metadata and failures that a shard has: path, checksum and number of rows."""
    array, metadata, failures, _ = shard_files(root, shard.number)
    sums = shard.checksums
    found = []
    if shard.photos:
        found.append((array, sums.embeddings, shard.photos))
        found.append((metadata, sums.metadata, shard.photos))
    if shard.failures:
        found.append((failures, sums.failures, shard.failures))
    return found


def _remove_superseded(home: Path, current: Path) -> None:
    """Remove other copies of the same index, if they were not opened for a day."""
    oldest = time.time() - _KEPT_SECONDS
    for entry in list(os.scandir(home)):
        if entry.name == current.name or not _STATE.fullmatch(entry.name):
            continue
        try:
            if entry.is_dir(follow_symlinks=False) and entry.stat().st_mtime < oldest:
                shutil.rmtree(entry.path, ignore_errors=True)
        except OSError:  # another process has removed it
            continue


def _threaded(call: Callable[[T], R], items: Iterable[T]) -> list[R]:
    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(call, items))


def _hash(value: object) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "backslashreplace")).hexdigest()[:16]
