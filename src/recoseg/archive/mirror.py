"""Indexes on other file systems: brought to this machine file by file, when they are needed."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from recoseg.errors import ArchiveError
from recoseg.files import cache_folder
from recoseg.photos.filesystems import file_system
from recoseg.photos.refs import remote_stamp

_EMBEDDINGS = "img_emb"


@dataclass(frozen=True)
class Mirror:
    """A copy of a remote index, at first without its embeddings.

    A changed index has another copy, since the folder's name is drawn from the names, sizes and
    stamps of all files.

    Attributes:
        root: The local folder.
    """

    root: Path
    _fs: Any
    _base: str

    @classmethod
    def of(cls, url: str) -> Mirror:
        """The mirror of an index at a URL that fsspec knows, in `$RECOSEG_CACHE/indexes`.

        Raises:
            ArchiveError: There is nothing, or it cannot be reached.
            MissingExtraError: It lies on S3, and s3fs is not installed.
        """
        fs, base = file_system(url)
        try:
            fs.invalidate_cache()  # what this process listed before may have changed
            found = fs.find(base, detail=True)
        except Exception as error:  # each file system has errors of its own
            raise ArchiveError(f"Cannot reach the index at {url}: {error}") from error
        if not found:
            raise ArchiveError(f"No index at {url}: there are no files.")
        base = base.rstrip("/")
        names = {path[len(base) :].lstrip("/"): remote_stamp(found[path]) for path in found}
        digest = hashlib.sha256(repr((url, sorted(names.items()))).encode()).hexdigest()[:16]
        mirror = cls(cache_folder("indexes") / digest, fs, base)
        for name in names:
            hidden = any(part.startswith(".") for part in name.split("/"))
            if not hidden and not name.startswith(f"{_EMBEDDINGS}/"):
                mirror.fetch(mirror.root / name)
        if "manifest.json" not in names:  # another program's: their shapes are not known otherwise
            for name in names:
                if name.startswith(f"{_EMBEDDINGS}/"):
                    mirror.fetch(mirror.root / name)
        return mirror

    def fetch(self, path: Path) -> Path:
        """A file of the mirror, brought here if it is not here yet.

        Raises:
            ArchiveError: It cannot be had.
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
        except Exception as error:  # each file system has errors of its own
            Path(temporary).unlink(missing_ok=True)
            raise ArchiveError(f"Cannot fetch {remote}: {error}") from error
        return path


class RemoteRows:
    """Embeddings of a shard that are fetched and mapped when they are first touched.

    Args:
        mirror: Where they belong.
        path: Their file in the mirror.
        shape: (n, d), as the shard's marker says.
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
