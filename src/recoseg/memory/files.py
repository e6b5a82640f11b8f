"""The files of a region memory here, on the Hub or at a URL: checked, then read or mapped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from recoseg.archive import tables
from recoseg.errors import ArchiveError, FileError, HubError
from recoseg.hub.address import HubAddress, is_hub
from recoseg.hub.fetch import HubCopy, fetch
from recoseg.hub.layout import WHAT
from recoseg.memory.layout import (
    MARKER_BYTES,
    REQUIRED,
    TABLES,
    MemoryShard,
    Part,
    RegionRows,
    marker_name,
    part_name,
    photos_of,
    read_marker,
    read_shards,
    shard_number,
    valid_shards,
)
from recoseg.memory.manifest import MANIFEST, MANIFEST_BYTES, MemoryManifest
from recoseg.photos.filesystems import file_system
from recoseg.storage.arrays import map_array
from recoseg.storage.atomic import write_bytes
from recoseg.storage.cache import cache_folder
from recoseg.storage.checksums import write_with_checksum
from recoseg.storage.counts import count_of

_FETCHERS = 16
_CHUNK = 1 << 20


class MemoryFiles(Protocol):
    """Where the files of a memory are.

    Attributes:
        root: Local folder of the manifest.
        location: The path or URL by which the memory can be opened again.
    """

    root: Path
    location: str

    def shards(self) -> list[MemoryShard]:
        """The valid shards by number."""

    def path(self, shard: MemoryShard, part: Part) -> Path:
        """Local path of a file of a shard; it is fetched first if it is elsewhere."""


class LocalFiles:
    """The files of a memory in a folder.

    Args:
        root: The folder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.location = str(root.resolve())

    def shards(self) -> list[MemoryShard]:
        """See `MemoryFiles`."""
        return read_shards(self.root)[0]

    def path(self, shard: MemoryShard, part: Part) -> Path:
        """See `MemoryFiles`."""
        return self.root / part_name(part, shard.number)


class HubFiles:
    """The files of a memory on the Hub, in the cache of its client.

    Manifest and markers are fetched when the memory is opened. All other files follow when one of
    them is needed, since a search needs most of them.

    Args:
        address: Where it is, `hf:OWNER/NAME[@REVISION]`.

    Raises:
        HubError: The repository cannot be fetched, or holds no region memory.
    """

    def __init__(self, address: str) -> None:
        self._copy = fetch(HubAddress.parse(address), summary=True)
        if self._copy.kind != "memory":
            raise HubError(f"{address} holds {WHAT[self._copy.kind]}. Expected {WHAT['memory']}.")
        self.root = self._copy.folder
        self.location = str(self._copy.address)

    def shards(self) -> list[MemoryShard]:
        """See `MemoryFiles`."""
        return read_shards(self.root)[0]

    def path(self, shard: MemoryShard, part: Part) -> Path:
        """See `MemoryFiles`."""
        return self._whole.folder / part_name(part, shard.number)

    @cached_property
    def _whole(self) -> HubCopy:
        return fetch(self._copy.address)


class RemoteFiles:
    """The files of a memory at a URL, copied to `$RECOSEG_CACHE/memories` when they are needed.

    Manifest and markers are read each time a memory is opened. No other file is fetched but those
    whose checksums the markers hold, and copies are named by them, so that no copy is out of date.

    Args:
        url: The URL of the folder.

    Raises:
        ArchiveError: There is no memory, or it cannot be reached.
        MissingExtraError: The URL is on S3, and s3fs is not installed.
    """

    def __init__(self, url: str) -> None:
        self.location = url
        self._fs, base = file_system(url)
        self._base = base.rstrip("/")
        digest = hashlib.blake2b(url.rstrip("/").encode(), digest_size=8).hexdigest()
        self.root = cache_folder("memories") / digest
        self._fs.invalidate_cache()  # the listing may have changed since this process last read it
        write_bytes(self.root / MANIFEST, self._read(MANIFEST, MANIFEST_BYTES))

    def shards(self) -> list[MemoryShard]:
        """See `MemoryFiles`."""
        try:
            names = [str(path) for path in self._fs.ls(f"{self._base}/shards", detail=False)]
        except FileNotFoundError:
            names = []
        except Exception as error:  # each file system raises its own types of errors
            raise ArchiveError(f"Cannot list the shards of {self.location}: {error}") from error
        leaves = [name.rstrip("/").rpartition("/")[2] for name in names]
        numbers = sorted({shard_number("shards", leaf) for leaf in leaves} - {-1})
        with ThreadPoolExecutor(_FETCHERS) as pool:
            return valid_shards(list(pool.map(self._marker, numbers)))[0]

    def path(self, shard: MemoryShard, part: Part) -> Path:
        """See `MemoryFiles`.

        Raises:
            ArchiveError: The file cannot be fetched, is larger than its marker says, or has another
                checksum.
        """
        name, recorded = part_name(part, shard.number), shard.checksums.get(part, "")
        target = self.root / part / f"{recorded}{Path(name).suffix}"
        if not recorded.isalnum():  # it becomes a file's name
            raise ArchiveError(f"The marker of shard {shard.number} of {self.location} is damaged.")
        if target.exists():
            return target

        def copy(out: Any) -> None:
            done = 0
            for chunk in self._chunks(name):
                done += len(chunk)
                if done > shard.bytes:
                    raise FileError(f"it has more than {shard.bytes:,} bytes")
                out.write(chunk)
            if out.digest.hexdigest() != recorded:
                raise FileError(f"it does not have the checksum {recorded} of its marker")

        try:
            write_with_checksum(target, copy)
        except Exception as error:  # each file system raises its own types of errors
            raise ArchiveError(f"Cannot fetch {name} of {self.location}: {error}") from error
        return target

    def _marker(self, number: int) -> MemoryShard:
        path = self.root / marker_name(number)
        write_bytes(path, self._read(marker_name(number), MARKER_BYTES))
        return read_marker(path)

    def _read(self, name: str, limit: int) -> bytes:
        data = b""
        try:
            for chunk in self._chunks(name):
                data += chunk
                if len(data) > limit:
                    raise FileError(f"{name} has more than {limit:,} bytes")
        except FileNotFoundError as error:
            raise ArchiveError(f"No region memory was found at {self.location}.") from error
        except Exception as error:  # each file system raises its own types of errors
            raise ArchiveError(
                f"Cannot reach the region memory at {self.location}: {error}"
            ) from error
        return data

    def _chunks(self, name: str) -> Iterator[bytes]:
        with self._fs.open(f"{self._base}/{name}", "rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk


def memory_files(path: str) -> MemoryFiles:
    """The files of the memory in a folder, on the Hub or at a URL.

    Raises:
        ArchiveError: The URL cannot be reached or holds no memory.
        HubError: The repository cannot be fetched or holds no memory.
    """
    if is_hub(path):
        return HubFiles(path)
    return RemoteFiles(path) if "://" in path else LocalFiles(Path(path))


def map_rows(files: MemoryFiles, shard: MemoryShard, part: Part, dim: int) -> np.ndarray:
    """Memory-map the keys or values of a shard, (n, dim) float16.

    Raises:
        ArchiveError: The file is missing or damaged, or does not match its marker.
    """
    if not shard.regions:
        return np.empty((0, dim), np.float16)
    path = files.path(shard, part)
    try:
        # Copy on write: torch needs writable arrays, but the file must not change.
        rows, header = map_array(path, "c")
    except FileError as error:
        raise ArchiveError(f"{error} {_advice(files, shard)}") from error
    if header.shape != (shard.regions, dim) or header.dtype != np.float16:
        raise ArchiveError(
            f"{path} holds {header.dtype} {header.shape}. Expected float16 "
            f"{(shard.regions, dim)}. {_advice(files, shard)}"
        )
    return rows


def read_table(files: MemoryFiles, shard: MemoryShard, part: Part) -> Any:
    """Read the table of the photos or of the regions of a shard.

    Raises:
        ArchiveError: The file is missing or damaged, or does not match its marker.
    """
    count = shard.photos if part == "photos" else shard.regions
    if not count:
        return TABLES[part].empty_table()
    path, schema = files.path(shard, part), TABLES[part]
    table = tables.read_table(
        path,
        dict(zip(schema.names, schema.types, strict=True)),
        count,
        recorded=shard.checksums.get(part, ""),
        required=REQUIRED[part],
        command="recoseg remember",
    )
    if part == "photos":
        counts = table["regions"].to_numpy()
        fits = counts.min() >= 0 and counts.sum(dtype=np.int64) == shard.regions
    else:
        owners = table["photo"].to_numpy()
        fits = 0 <= owners.min() <= owners.max() < shard.photos
    if not fits:
        raise ArchiveError(
            f"{path} is damaged: its regions are not those of {count_of(shard.photos, 'photos')} "
            f"with {count_of(shard.regions, 'regions')} together. {_advice(files, shard)}"
        )
    return table


def read_rows(files: MemoryFiles, shard: MemoryShard, manifest: MemoryManifest) -> RegionRows:
    """Read all photos and regions of a shard.

    Raises:
        ArchiveError: A file is missing or damaged, or does not match its marker.
    """
    table = read_table(files, shard, "photos")
    photos, ids = photos_of(table.to_pylist())
    regions = read_table(files, shard, "regions")
    sides = [regions[name].to_numpy() for name in ("top", "left", "bottom", "right")]
    return RegionRows(
        photos,
        ids,
        table["regions"].to_numpy().astype(np.int64),
        np.array(map_rows(files, shard, "keys", manifest.key_dim)),
        np.array(map_rows(files, shard, "values", manifest.value_dim)),
        regions["area"].to_numpy(),
        np.stack(sides, 1).astype(np.float32),
        stamps_of(table),
    )


def stamps_of(table: Any) -> tuple[str, ...]:
    """The stamp of the stored regions of each photo of a table; empty texts if there are none."""
    if "region_stamp" not in table.column_names:
        return ("",) * table.num_rows
    return tuple(stamp or "" for stamp in table["region_stamp"].to_pylist())


def _advice(files: MemoryFiles, shard: MemoryShard) -> str:
    return (
        "If the memory has just been written to, open it again. Otherwise delete "
        f"{marker_name(shard.number)} in {files.location} and run `recoseg remember` again."
    )
