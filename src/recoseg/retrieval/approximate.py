"""Approximate search with faiss: it proposes photos, which are then scored exactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recoseg.errors import (
    FileError,
    MissingExtraError,
    OutputError,
    RecosegError,
    UnknownNameError,
)
from recoseg.retrieval.duplicates import EmbeddedArchive
from recoseg.retrieval.queries import Query
from recoseg.retrieval.search import Ranking, top_k
from recoseg.storage.atomic import write_bytes
from recoseg.storage.checksums import check_file, write_with_checksum
from recoseg.storage.locks import lock_file
from recoseg.storage.sealed import read_sealed, sealed

KINDS = ("ivf", "hnsw")

_TRAINING = 50
"""Number of photos per IVF list that the centres of the lists are trained on."""
_LINKS = 32
"""Number of neighbours that HNSW keeps for each photo."""
_CHECKED_BYTES = 1 << 30
"""Maximum size of a faiss index whose checksum is compared when it is opened, bytes."""
_RECORD_BYTES = 1 << 16


class ApproximateIndex:
    """A faiss index (IVF or HNSW) of an archive. Vectors are stored in fp16, without quantisation.

    Args:
        index: The archive, whose embeddings are used to score the proposals.
        faiss_index: The faiss index of the archive.
        effort: Number of IVF lists or HNSW candidates that are visited for each word.
        oversample: Number of proposals per word, as a multiple of the number of requested photos.
    """

    def __init__(
        self, index: EmbeddedArchive, faiss_index: Any, *, effort: int = 64, oversample: int = 4
    ) -> None:
        self._index = index
        self._faiss = faiss_index
        self._effort = effort
        self._oversample = oversample

    @classmethod
    def open(
        cls, index: EmbeddedArchive, path: Path, kind: str, *, effort: int = 64
    ) -> ApproximateIndex:
        """Open the faiss index in a folder; it is built if it is absent, damaged or stale.

        It is stale if the embeddings of the archive have changed since. Its checksum is compared
        if it has at most a gigabyte; that of a larger one is left to `recoseg verify`.

        Args:
            index: The archive.
            path: Folder of the faiss index, which is created if it does not exist.
            kind: `ivf` or `hnsw`.
            effort: Number of IVF lists or HNSW candidates that are visited for each word.

        Raises:
            MissingExtraError: faiss is not installed.
            UnknownNameError: The kind is not `ivf` or `hnsw`.
            OutputError: It cannot be written, or another process is writing it.
        """
        check_kind(kind)
        faiss = _import_faiss()
        file, record = path / f"{kind}.faiss", path / f"{kind}.json"
        state = {"kind": kind, "photos": len(index), "content": index.content}
        found = _read(faiss, file, record, state, index)
        if found is None:
            built = _build(faiss, index, kind)
            try:
                with lock_file(file):
                    record.unlink(missing_ok=True)
                    sums = write_with_checksum(
                        file,
                        lambda out: faiss.write_index(built, faiss.PyCallbackIOWriter(out.write)),
                    )
                    write_bytes(record, sealed({**state, "file": sums}))
            except OSError as error:
                raise OutputError(
                    f"Cannot write the index for approximate search, {file}: "
                    f"{error.strerror or error}."
                ) from error
            found = faiss.read_index(str(file), faiss.IO_FLAG_MMAP)
        return cls(index, found, effort=effort)

    def search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Find up to k photos of each class. Scores are exact, but some photos may be missed.

        Each positive word of a class proposes photos. They are scored as in exact search, with
        negative words included.

        Args:
            queries: The classes.
            k: Number of photos per class.

        Returns:
            One ranking per class; it may hold fewer than k photos.
        """
        proposals = min(self._oversample * k, len(self._index))
        return [self._search_class(query, k, proposals) for query in queries]

    def recall(self, queries: Sequence[Query], k: int) -> float:
        """Fraction of the photos of exact search that are found, 0 to 1.

        It searches exactly once, which takes one pass over the archive.
        """
        approximate = self.search(queries, k)
        exact = top_k(self._index.blocks(), queries, k)
        hits = sum(
            int(torch.isin(best.positions, found.positions).sum())
            for found, best in zip(approximate, exact, strict=True)
        )
        return hits / max(sum(len(best.positions) for best in exact), 1)

    def _search_class(self, query: Query, k: int, proposals: int) -> Ranking:
        words = query.positive.float().cpu().numpy()
        if hasattr(self._faiss, "nprobe"):
            self._faiss.nprobe = self._effort
        else:
            self._faiss.hnsw.efSearch = max(self._effort, proposals)
        _, proposed = self._faiss.search(words, proposals)
        positions = np.unique(proposed[proposed >= 0])
        selected = [self._index.is_selected(position) for position in positions.tolist()]
        positions = positions[np.array(selected, bool)]
        rows = self._index.embeddings(positions.tolist()).numpy()
        [best] = top_k([(0, rows)], [query], k)
        return Ranking(torch.from_numpy(positions)[best.positions], best.scores)


def check_kind(kind: str) -> None:
    """Refuse an unknown kind of approximate search, or any kind if faiss is not installed.

    Raises:
        UnknownNameError: The kind is not `ivf` or `hnsw`.
        MissingExtraError: faiss is not installed.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of approximate search", kind, list(KINDS))
    _import_faiss()


def _build(faiss: Any, index: EmbeddedArchive, kind: str) -> Any:
    first = next(iter(index.blocks(selected=False)), None)
    if first is None:
        raise RecosegError("The archive is empty. Index some photos first.")
    dim, count = first[1].shape[1], len(index)
    product = faiss.METRIC_INNER_PRODUCT
    if kind == "hnsw":
        built = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_fp16, _LINKS, product)
    else:
        lists = max(1, min(int(4 * count**0.5), count // _TRAINING))
        centres = faiss.IndexFlatIP(dim)
        built = faiss.IndexIVFScalarQuantizer(
            centres, dim, lists, faiss.ScalarQuantizer.QT_fp16, product
        )
        chosen = np.random.default_rng(0).permutation(count)[: _TRAINING * lists]
        built.train(index.embeddings(np.sort(chosen).tolist()).numpy())
    if not built.is_trained:
        built.train(np.asarray(first[1], np.float32))
    for _, rows in index.blocks(selected=False):
        built.add(rows.astype(np.float32))
    return built


def _read(
    faiss: Any, file: Path, record: Path, state: dict[str, Any], index: EmbeddedArchive
) -> Any | None:
    """The faiss index of a file; None if it is absent, damaged or not of this archive."""
    try:
        fields, _ = read_sealed(record, _RECORD_BYTES)
        recorded = fields.pop("file", "")
        if fields != state or not file.is_file():
            return None
        if file.stat().st_size <= _CHECKED_BYTES:
            check_file(file, recorded)
        found = faiss.read_index(str(file), faiss.IO_FLAG_MMAP)
    except (FileError, OSError, RuntimeError, MemoryError):  # faiss raises the last two
        return None
    return found if found.ntotal == len(index) else None


def _import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("faiss", "faiss", "Approximate search") from error
    return faiss
