"""Local copies of indexes on other file systems, fetched file by file when they are needed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from recoseg.errors import ArchiveError
from recoseg.photos.filesystems import file_system
from recoseg.photos.refs import remote_stamp
from recoseg.storage.cache import cache_folder

_EMBEDDINGS = "img_emb"


@dataclass(frozen=True)
class Mirror:
    """A local copy of a remote index, at first without its embeddings.

    The folder's name is a hash of the names, sizes and stamps of all files, so an index that has
    changed gets a new copy.

    Attributes:
        root: The local folder.
    """

    root: Path
    _fs: Any
    _base: str

    @classmethod
    def of(cls, url: str) -> Mirror:
        """Copy the index at a URL that fsspec supports to `$RECOSEG_CACHE/indexes`.

        Raises:
            ArchiveError: There is no index, it cannot be reached, or a file's name points outside
                the folder.
            MissingExtraError: The URL is on S3, and s3fs is not installed.
        """
        fs, base = file_system(url)
        try:
            fs.invalidate_cache()  # the listing may have changed since this process last read it
            found = fs.find(base, detail=True)
        except Exception as error:  # each file system raises its own types of errors
            raise ArchiveError(f"Cannot reach the index at {url}: {error}") from error
        if not found:
            raise ArchiveError(f"There is no index at {url}: the folder is empty or missing.")
        base = base.rstrip("/")
        names = {path[len(base) :].lstrip("/"): remote_stamp(found[path]) for path in found}
        digest = hashlib.sha256(repr((url, sorted(names.items()))).encode()).hexdigest()[:16]
        mirror = cls(cache_folder("indexes") / digest, fs, base)
        for name in names:
            _check_name(name, mirror.root, url)
        for name in names:
            hidden = any(part.startswith(".") for part in name.split("/"))
            if not hidden and not name.startswith(f"{_EMBEDDINGS}/"):
                mirror.fetch(mirror.root / name)
        if "manifest.json" not in names:  # of clip-retrieval: no markers with the shapes
            for name in names:
                if name.startswith(f"{_EMBEDDINGS}/"):
                    mirror.fetch(mirror.root / name)
        return mirror

    def fetch(self, path: Path) -> Path:
        """Fetch a file of the mirror if it is not on this machine yet; return its path.

        Raises:
            ArchiveError: The file cannot be fetched.
        """
        if path.exists():
            return path
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=".tmp-")
        os.close(handle)
        try:
            remote = f"{self._base}/{path.relative_to(self.root).as_posix()}"
            self._fs.get_file(remote, temporary)
            Path(temporary).replace(path)
        except Exception as error:  # each file system raises its own types of errors
            Path(temporary).unlink(missing_ok=True)
            raise ArchiveError(f"Cannot fetch {remote}: {error}") from error
        return path


def _check_name(name: str, root: Path, url: str) -> None:
    """Refuse a listed file name that points outside the folder."""
    if ".." in PurePath(name).parts or not (root / name).is_relative_to(root):
        raise ArchiveError(
            f"The index at {url} lists the file {name!r}, which is outside its folder. Expected "
            "only files inside the folder; nothing was fetched. Check where the index comes from."
        )


class RemoteRows:
    """Embeddings of a shard that are fetched and memory-mapped when they are first used.

    Args:
        mirror: The mirror of the index.
        path: The file of the embeddings in the mirror.
        shape: (n, d), from the shard's marker.
    """

    def __init__(self, mirror: Mirror, path: Path, shape: tuple[int, int]) -> None:
        self._mirror = mirror
        self._path = path
        self._rows: np.ndarray | None = None
        self.shape = shape

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: int | slice) -> np.ndarray:
        if self._rows is None:
            rows: np.ndarray = np.load(self._mirror.fetch(self._path), "c", allow_pickle=False)
            if rows.shape != self.shape or rows.dtype != np.float16:
                raise ArchiveError(
                    f"{self._path.name} holds {rows.dtype} {rows.shape}. Expected float16 "
                    f"{self.shape}: build the index again."
                )
            self._rows = rows
        found: np.ndarray = self._rows[key]
        return found
