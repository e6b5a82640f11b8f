"""Reading a region memory: search for regions by their keys, and the values of those found."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from recoseg.archive.index import ArchiveIndex
from recoseg.archive.selection import Selection
from recoseg.errors import EncoderMismatchError, RecosegError
from recoseg.memory.files import (
    LocalFiles,
    MemoryFiles,
    map_rows,
    memory_files,
    read_rows,
    read_table,
)
from recoseg.memory.layout import MemoryShard, Part, RegionRows, photos_of
from recoseg.memory.manifest import MemoryManifest
from recoseg.memory.nearest import nearest
from recoseg.memory.report import MemoryReport, MemorySummary, Region
from recoseg.memory.rows import ShardRows
from recoseg.photos.refs import Photo
from recoseg.retrieval.approximate import ApproximateIndex
from recoseg.retrieval.queries import Query
from recoseg.retrieval.search import Ranking
from recoseg.storage.checksums import checksum

NOT_FOUND = -1
"""Position in place of a region where fewer than k regions were found."""

_CACHED_TABLES = 16
_QUERIES = 4096
"""Number of query regions that are searched in one pass over the keys."""
_NONE = np.zeros(0, bool)


class RegionMemory:
    """The keys and values of the regions of an archive.

    Positions number the regions of all shards, starting at 0. Keys and values are read from disk
    when they are used.

    Attributes:
        manifest: Its encoders and settings.
        location: Absolute path of the folder, or URL, by which it can be opened again.
        root: Local folder of the memory, or of the copy of a remote one.
        report: Report of the run that has just written to the memory; None otherwise.
    """

    def __init__(
        self,
        files: MemoryFiles,
        manifest: MemoryManifest,
        shards: Sequence[MemoryShard],
        selection: Selection | None = None,
        present: Collection[str] | None = None,
    ) -> None:
        self._files = files
        self.root = files.root
        self.location = files.location
        self.manifest = manifest
        self.report: MemoryReport | None = None
        self._shards = list(shards)
        self._selection = selection or Selection()
        self._present = present
        self._keys = self._rows("keys", manifest.key_dim)
        self._values = self._rows("values", manifest.value_dim)
        self._photos = lru_cache(maxsize=_CACHED_TABLES)(self._load_photos)
        self._owners = lru_cache(maxsize=_CACHED_TABLES)(self._load_owners)
        self._left_out: dict[int, np.ndarray] = {}

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        *,
        index: ArchiveIndex | None = None,
        selection: Selection | None = None,
    ) -> RegionMemory:
        """Open a region memory.

        Args:
            path: Its folder, the URL of one (what is needed is copied to
                `$RECOSEG_CACHE/memories`), or its address on the Hub, `hf:OWNER/NAME[@REVISION]`.
            index: Regions of photos that are not in this index or in its selection are never
                found; None leaves out none.
            selection: Regions of photos that it leaves out are never found.

        Raises:
            ArchiveError: There is no memory, or its files do not match each other.
        """
        files = memory_files(os.fspath(path))
        manifest = MemoryManifest.load(files.root)
        present = None if index is None else frozenset(photo.id for photo in index.photos())
        opened = cls(files, manifest, files.shards(), selection, present)
        if isinstance(files, LocalFiles):  # they are checked at once
            for number in range(len(opened._shards)):
                opened._keys.shard(number), opened._values.shard(number)
        return opened

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def content(self) -> str:
        """32 hex digits that differ when the regions or their order have changed."""
        sums = [(shard.regions, sorted(shard.checksums.items())) for shard in self._shards]
        return checksum(repr(sums).encode())

    @property
    def left_out(self) -> str:
        """32 hex digits of which photos are never found; empty if all can be."""
        if self._present is None and not self._selection.left_out:
            return ""
        present = self._present and sorted(self._present)
        return checksum(repr([sorted(self._selection.left_out), present]).encode())

    def summary(self) -> MemorySummary:
        """What the memory holds."""
        manifest = self.manifest
        return MemorySummary(
            photos=sum(shard.photos for shard in self._shards),
            regions=len(self),
            shards=len(self._shards),
            bytes=sum(shard.bytes for shard in self._shards),
            phi=manifest.phi,
            texts=manifest.texts,
            provider=manifest.provider,
            size=manifest.size,
            precision=manifest.precision,
        )

    def search(
        self,
        queries: Mapping[str, Float[Tensor, "q _"]],
        k: int = 20,
        *,
        approximate: ApproximateIndex | None = None,
    ) -> tuple[Float[Tensor, "q k"], Int64[Tensor, "q k"]]:
        """Find the regions whose keys are most similar to those of query regions.

        Args:
            queries: Keys of the q query regions by the key of their phi (see `EncoderInfo.key`);
                they need not be unit. Phi of the memory that are not given do not count.
            k: Number of regions per query.
            approximate: Approximate search, from `ApproximateIndex.open(memory, ...)`; None
                searches exactly.

        Returns:
            The sums of the cosines of all given phi, highest first, equal scores by position; and
            the positions of the regions. Where fewer than k regions were found, the score is
            -infinity and the position `NOT_FOUND`.

        Raises:
            EncoderMismatchError: A phi is not one of the memory's, or its keys have another length.
            ValueError: k is not positive.
        """
        rows = self.query_rows(queries)
        count = len(self.manifest.phi)
        scores = torch.full((len(rows), k), float("-inf"))
        positions = torch.full((len(rows), k), NOT_FOUND)
        for first in range(0, len(rows), _QUERIES):
            found = self._rankings(rows[first : first + _QUERIES], k, approximate)
            for at, ranking in enumerate(found, first):
                scores[at, : len(ranking.scores)] = ranking.scores * count
                positions[at, : len(ranking.positions)] = ranking.positions
        return scores, positions

    def query_rows(self, queries: Mapping[str, Float[Tensor, "q _"]]) -> Float[Tensor, "q C"]:
        """Queries in the form of the stored keys: one row per region, on the CPU, fp32.

        The product with a stored row is the sum of the cosines of the given phi, divided by the
        number of all phi.

        Raises:
            EncoderMismatchError: A phi is not one of the memory's, or its keys have another length.
        """
        spans = self.manifest.key_spans
        unknown = sorted(set(queries) - set(spans))
        if unknown or not queries:
            raise EncoderMismatchError(
                f"The region memory {self.location} has keys of {', '.join(spans)}; got queries "
                f"of {', '.join(unknown) or 'none'}. Use the phi that the memory was made with."
            )
        counts = {len(rows) for rows in queries.values()}
        if len(counts) != 1:
            raise RecosegError(
                f"Expected the same number of query regions for each phi, got {sorted(counts)}."
            )
        found = torch.zeros(counts.pop(), self.manifest.key_dim)
        for key, rows in queries.items():
            span = spans[key]
            if rows.shape[1] != span.stop - span.start:
                raise EncoderMismatchError(
                    f"Expected query keys of {key} of length {span.stop - span.start}; got "
                    f"{rows.shape[1]}."
                )
            found[:, span] = F.normalize(rows.float(), dim=1).cpu() / len(spans) ** 0.5
        return found

    def values(
        self, positions: Int64[Tensor, "*shape"], text_key: str
    ) -> Float[Tensor, "*shape d"]:
        """The values of regions.

        Args:
            positions: Positions, as `search` returns them; `NOT_FOUND` gives zeros.
            text_key: Key of the text encoder; see `EncoderInfo.key`.

        Returns:
            Mean features of the text encoder, fp32, unit.

        Raises:
            EncoderMismatchError: The memory has no values of this encoder.
        """
        spans = self.manifest.value_spans
        if text_key not in spans:
            raise EncoderMismatchError(
                f"The region memory {self.location} has values of {', '.join(spans)}, not of "
                f"{text_key}. Use a text encoder that the memory was made with."
            )
        flat = positions.reshape(-1).cpu().numpy()
        wanted, back = np.unique(flat[flat != NOT_FOUND], return_inverse=True)
        rows = torch.from_numpy(self._values.take(wanted, spans[text_key])).float()
        found = torch.zeros(len(flat), rows.shape[1])
        found[torch.from_numpy(flat != NOT_FOUND)] = rows[torch.from_numpy(back)]
        return found.view(*positions.shape, -1)

    def region(self, position: int) -> Region:
        """The region at a position."""
        shard, row = self._locate(position)
        [found] = read_table(self._files, self._shards[shard], "regions").slice(row, 1).to_pylist()
        box = (found["top"], found["left"], found["bottom"], found["right"])
        return Region(self._photos(shard)[0][found["photo"]], found["area"], box)

    def photo_id(self, position: int) -> str:
        """Id of the photo of the region at a position, as the index says."""
        shard, row = self._locate(position)
        return str(self._photos(shard)[1][self._owners(shard)[row]])

    def is_selected(self, position: int) -> bool:
        """Whether the region at a position can be found."""
        shard, row = self._locate(position)
        left_out = self._left_out_of(shard)
        return not (len(left_out) and left_out[row])

    def blocks(
        self,
        rows: int = 65_536,
        *,
        first: int = 0,
        stop: int | None = None,
        selected: bool = True,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Iterate over the keys in order of position.

        Args:
            rows: Maximum number of keys per block.
            first: The first position.
            stop: The position after the last one; None for all.
            selected: Whether to replace the rows of photos that are left out by NaN, so that no
                search finds them.

        Yields:
            The position of the first row, and a memory-mapped (m, C) array of float16, rows unit.
        """
        left_out = self._left_out_of if selected else lambda _: _NONE
        return self._keys.blocks(rows, first, stop, left_out)

    def embeddings(self, positions: Sequence[int]) -> Float[Tensor, "n C"]:
        """The keys at the given positions, fp32, rows unit."""
        return self._taken(np.asarray(positions, np.int64))

    def shard_rows(self) -> Iterator[RegionRows]:
        """The photos and regions of each shard, also those that are left out of search."""
        return (read_rows(self._files, shard, self.manifest) for shard in self._shards)

    def _rankings(
        self, rows: Float[Tensor, "q C"], k: int, approximate: ApproximateIndex | None
    ) -> list[Ranking]:
        if approximate is not None:
            return approximate.search([Query(row[None]) for row in rows], k)
        return nearest(self.blocks(), self._taken, rows, k)

    def _taken(self, positions: np.ndarray) -> Float[Tensor, "n C"]:
        return torch.from_numpy(self._keys.take(positions).astype(np.float32))

    def _rows(self, part: Part, dim: int) -> ShardRows:
        counts = [shard.regions for shard in self._shards]
        return ShardRows(
            counts, dim, lambda number: map_rows(self._files, self._shards[number], part, dim)
        )

    def _locate(self, position: int) -> tuple[int, int]:
        shard, row = self._keys.locate(np.array([position]))
        return int(shard[0]), int(row[0])

    def _load_photos(self, shard: int) -> tuple[tuple[Photo, ...], np.ndarray]:
        photos, ids = photos_of(read_table(self._files, self._shards[shard], "photos").to_pylist())
        return photos, np.array(ids, object)

    def _load_owners(self, shard: int) -> np.ndarray:
        """The row of its photo in the table of photos, for each region of a shard."""
        counts = read_table(self._files, self._shards[shard], "photos")["regions"].to_numpy()
        return np.repeat(np.arange(len(counts)), counts)

    def _left_out_of(self, shard: int) -> np.ndarray:
        """For each region of a shard whether it is left out; empty if no photo of any is."""
        if self._present is None and not self._selection.left_out:
            return _NONE
        if shard not in self._left_out:
            _, ids = self._photos(shard)
            out = self._selection.mask(ids.tolist())
            if self._present is not None:
                out |= np.array([name not in self._present for name in ids], bool)
            self._left_out[shard] = out[self._owners(shard)]
        return self._left_out[shard]


def open_memory(
    path: str | os.PathLike[str],
    *,
    index: ArchiveIndex | None = None,
    selection: Selection | str | Path | None = None,
) -> RegionMemory:
    """Open a region memory.

    Args:
        path: Its folder, the URL of one, or its address on the Hub, `hf:OWNER/NAME[@REVISION]`.
        index: Regions of photos that are not in this index or its selection are never found.
        selection: Selection, or its file; regions of photos that it leaves out are never found.

    Raises:
        ArchiveError: There is no memory, its files do not belong together, or the selection cannot
            be read.
    """
    if selection is not None and not isinstance(selection, Selection):
        selection = Selection.load(os.fspath(selection))
    return RegionMemory.open(path, index=index, selection=selection)
