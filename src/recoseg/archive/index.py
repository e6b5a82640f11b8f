"""Reading an index: memory-mapped embeddings, and photos by position."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from recoseg.archive.index_report import IndexReport
from recoseg.archive.layout import read_failures
from recoseg.archive.manifest import Manifest
from recoseg.archive.mirror import Mirror
from recoseg.archive.other_columns import read_columns
from recoseg.archive.selection import Selection
from recoseg.archive.shards import OpenShard, foreign_shards, own_shards
from recoseg.archive.tables import METADATA, describe_table, photo_of, read_table, table_of
from recoseg.encoders.protocols import EncoderInfo
from recoseg.errors import ArchiveError
from recoseg.photos.images import decode_image
from recoseg.photos.reading import read_photo
from recoseg.photos.refs import Photo

# Other programs may give columns of the other names another meaning.
_FOREIGN = {"image_path": METADATA["image_path"]}
_CACHED_TABLES = 16
_COPIED_ROWS = 8192
"""Number of rows that are copied at a time if the selection leaves out some of them."""
_NONE = np.zeros(0, bool)


class ArchiveIndex:
    """The embeddings of an archive of photos, with access to the photos themselves.

    Positions number the photos of all shards, starting at 0. Embeddings are read from disk when
    they are used, and metadata is read shard by shard when a photo is requested.

    Attributes:
        root: Folder of the index.
        dim: Length of an embedding.
        manifest: The encoder and settings of the index; None if another program made the index.
        selection: Which photos are left out of search and learning.
        location: Absolute path of the folder, or URL, by which the index can be opened again.
        report: Report of the run that has just built or updated the index; None otherwise.
    """

    def __init__(
        self,
        root: Path,
        manifest: Manifest | None,
        shards: list[OpenShard],
        selection: Selection | None = None,
        location: str = "",
    ) -> None:
        self.root = root
        self.location = location or str(root.resolve())
        self.report: IndexReport | None = None
        self.selection = selection or Selection()
        self.manifest = manifest
        self._shards = shards
        self._starts = list(accumulate((len(shard.rows) for shard in shards), initial=0))
        self.dim = manifest.encoder.dim if manifest else int(shards[0].rows.shape[1])
        self._table = lru_cache(maxsize=_CACHED_TABLES)(self._load_table)
        self._left_out: dict[int, np.ndarray] = {}

    @classmethod
    def open(cls, path: str | Path, selection: Selection | None = None) -> ArchiveIndex:
        """Open an index of recoseg, or a folder of embeddings that clip-retrieval wrote.

        Args:
            path: A folder with `img_emb/*.npy` and `metadata/*.parquet`, or the URL of one. The
                files of a remote index that are needed are copied to `$RECOSEG_CACHE/indexes`.
            selection: Which photos are left out of search and learning; None leaves out none.

        Raises:
            ArchiveError: No index was found, its files are damaged or do not match each other, or
                an embedding of another program is not L2-normalised.
        """
        mirror = Mirror.of(str(path)) if "://" in str(path) else None
        root = mirror.root if mirror else Path(path)
        try:
            manifest = Manifest.load(root)
            shards = (
                own_shards(root, manifest, mirror) if manifest else foreign_shards(root, str(path))
            )
        except OSError as error:
            raise ArchiveError(f"Cannot read the index {path}: {error}.") from error
        return cls(root, manifest, shards, selection, str(path) if mirror else "")

    def without(self, left_out: Mapping[str, str]) -> ArchiveIndex:
        """The same index, of which more photos are left out: a reason for each, by photo id."""
        selection = self.selection.left_out_with(left_out)
        return ArchiveIndex(self.root, self.manifest, self._shards, selection, self.location)

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def info(self) -> EncoderInfo | None:
        """The encoder that made the embeddings, if known."""
        return self.manifest.encoder if self.manifest else None

    @property
    def preset(self) -> str | None:
        """The preset from which the encoder was chosen, if any."""
        return self.manifest.preset if self.manifest else None

    def blocks(
        self,
        rows: int = 65_536,
        *,
        first: int = 0,
        stop: int | None = None,
        selected: bool = True,
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Iterate over the embeddings in order of position.

        Args:
            rows: Maximum number of embeddings per block.
            first: The first position.
            stop: The position after the last one; None for all.
            selected: Whether to replace rows that the selection leaves out by NaN, so that no
                search finds them.

        Yields:
            The position of the first row, and a memory-mapped (m, d) array of float16 (or float32
            in folders of other programs), rows L2-normalised.
        """
        stop = len(self) if stop is None else stop
        for number, (start, shard) in enumerate(zip(self._starts, self._shards, strict=False)):
            low, high = max(first - start, 0), min(stop - start, len(shard.rows))
            if low >= high:
                continue
            left_out = self._left_out_of(number) if selected else _NONE
            step = rows if not left_out.any() else min(rows, _COPIED_ROWS)
            for at in range(low, high, step):
                block = shard.rows[at : min(at + step, high)]
                if left_out[at : at + len(block)].any():
                    block = np.where(left_out[at : at + len(block), None], np.nan, block)
                    block = block.astype(shard.rows[at : at + 1].dtype)
                yield start + at, block

    def is_selected(self, position: int) -> bool:
        """Whether the selection keeps the photo at a position."""
        if not self.selection.left_out:
            return True
        shard, row = self._locate(position)
        return not self._left_out_of(shard)[row]

    @property
    def left_out(self) -> int:
        """How many photos the selection leaves out."""
        return int(sum(self._left_out_of(shard).sum() for shard in range(len(self._shards))))

    def embeddings(self, positions: Sequence[int]) -> Float[Tensor, "n d"]:
        """The embeddings at the given positions, fp32, rows L2-normalised."""
        found = np.empty((len(positions), self.dim), np.float32)
        for at, position in enumerate(positions):
            shard, row = self._locate(position)
            found[at] = self._shards[shard].rows[row]
        return torch.from_numpy(found)

    def photo(self, position: int) -> Photo:
        """The photo at a position, as recorded in the index."""
        shard, row = self._locate(position)
        return photo_of(self._table(shard).slice(row, 1).to_pylist()[0])

    def path(self, position: int) -> str:
        """Path of the photo: a local path, a URL, or `shard.tar::member`."""
        return self.photo(position).path

    def photo_id(self, position: int) -> str:
        """32 hex digits that identify the photo's content, or its path if no hash is recorded."""
        return self.photo(position).id

    def photos(self) -> Iterator[Photo]:
        """The photos that the selection keeps, in order of position."""
        return (photo for _, photo in self.entries())

    def entries(self) -> Iterator[tuple[int, Photo]]:
        """The positions and photos that the selection keeps, in order of position."""
        for number, (start, shard) in enumerate(zip(self._starts, self._shards, strict=False)):
            if not len(shard.rows):  # only photos that could not be used; there is no table
                continue
            left_out = self._left_out_of(number)
            for at, row in enumerate(self._table(number).to_pylist()):
                if not (len(left_out) and left_out[at]):
                    yield start + at, photo_of(row)

    def column_names(self) -> list[str]:
        """The columns of the index's tables, sorted.

        Those of other programs have more than recoseg's own, for example `LICENSE` and `url`.
        """
        found: set[str] = set()
        for shard in self._shards:
            if len(shard.rows):
                found.update(describe_table(shard.metadata)[1])
        return sorted(found)

    def columns(self, names: Sequence[str]) -> Iterator[tuple[int, dict[str, list[Any]]]]:
        """The values of some columns; see `column_names`.

        Args:
            names: Names of columns. A shard without a column has None for each of its photos.

        Yields:
            The position of the first photo of each shard, and its values by column: texts, numbers
            or None.

        Raises:
            ArchiveError: A table is damaged, or too large.
        """
        for start, shard in zip(self._starts, self._shards, strict=False):
            if len(shard.rows):
                yield start, read_columns(shard.metadata, names, len(shard.rows))

    def read(self, position: int) -> Image.Image:
        """Read and decode the photo: upright, RGB.

        Raises:
            BadImageError: The photo no longer exists or cannot be used.
        """
        return decode_image(read_photo(self.photo(position)))

    def failures(self) -> list[Photo]:
        """The photos that could not be used, each with its reason."""
        return [
            failure
            for shard in self._shards
            if shard.marker
            for failure in read_failures(self.root, shard.marker)
        ]

    @property
    def content(self) -> str:
        """32 hex digits that differ when the embeddings or their order have changed.

        They are of the checksums of the shards, or of the sizes and modification times of files
        that have none.
        """
        parts = [(shard.content, tuple(shard.rows.shape)) for shard in self._shards]
        return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()

    def _locate(self, position: int) -> tuple[int, int]:
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} is outside 0 to {len(self) - 1}")
        shard = bisect.bisect_right(self._starts, position) - 1
        return shard, position - self._starts[shard]

    def _left_out_of(self, shard: int) -> np.ndarray:
        """For each row of a shard whether the selection leaves it out; empty if it leaves none."""
        if not self.selection.left_out:
            return _NONE
        if shard not in self._left_out:
            photos = [photo_of(row) for row in self._table(shard).to_pylist()]
            self._left_out[shard] = self.selection.leaves_out(photos)
        return self._left_out[shard]

    def _load_table(self, shard: int) -> Any:
        found = self._shards[shard]
        if not len(found.rows):  # a shard of photos that cannot be used has no table
            return table_of([], METADATA)
        return read_table(
            found.metadata,
            METADATA if self.manifest else _FOREIGN,
            len(found.rows),
            recorded=found.marker.checksums.metadata if found.marker else "",
        )
