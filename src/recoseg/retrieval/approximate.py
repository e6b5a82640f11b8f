"""Approximate search through faiss, where asked: it proposes photos, which are scored exactly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from recoseg.errors import MissingExtraError, RecosegError, UnknownNameError
from recoseg.files import to_json, write_atomically
from recoseg.retrieval.duplicates import EmbeddedArchive
from recoseg.retrieval.queries import Query
from recoseg.retrieval.search import Ranking, top_k

KINDS = ("ivf", "hnsw")

_TRAINING = 50
"""Photos per list of IVF that its centres are learnt from."""
_LINKS = 32
"""Neighbours that HNSW keeps of each photo."""


class ApproximateIndex:
    """faiss's IVF or HNSW over an archive; vectors are kept in fp16, nothing is quantised further.

    Args:
        index: The archive, which scores the proposals.
        faiss_index: faiss's index of it.
        effort: Lists of IVF, or candidates of HNSW, that are visited for each word.
        oversample: Proposals for each word and place.
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
        """The index of that kind in a folder; made first if it is absent or of another archive.

        Args:
            index: The archive.
            path: The folder, made if absent.
            kind: `ivf` or `hnsw`.
            effort: See the class.

        Raises:
            MissingExtraError: faiss is not installed.
            UnknownNameError: There is no such kind.
        """
        check_kind(kind)
        faiss = _import_faiss()
        state = {"kind": kind, "photos": len(index), "last": _last_id(index)}
        file, record = path / f"{kind}.faiss", path / f"{kind}.json"
        if not record.exists() or json.loads(record.read_text(encoding="utf-8")) != state:
            record.unlink(missing_ok=True)
            built = _build(faiss, index, kind)
            write_atomically(
                file, lambda out: faiss.write_index(built, faiss.PyCallbackIOWriter(out.write))
            )
            write_atomically(record, lambda out: out.write(to_json(state)))
        return cls(index, faiss.read_index(str(file), faiss.IO_FLAG_MMAP), effort=effort)

    def search(self, queries: Sequence[Query], k: int) -> list[Ranking]:
        """Up to k photos of each class, with exact scores; good ones may be missing.

        Every word of a class, negative ones left out, proposes photos. They are scored as exact
        search scores them, negative words included.
        """
        wanted = min(self._oversample * k, len(self._index))
        return [self._of_class(query, k, wanted) for query in queries]

    def recall(self, queries: Sequence[Query], k: int) -> float:
        """Share of the photos of exact search that are found; takes one pass over the archive."""
        found = self.search(queries, k)
        exact = top_k(self._index.blocks(), queries, k)
        hits = sum(
            int(torch.isin(best.positions, some.positions).sum())
            for some, best in zip(found, exact, strict=True)
        )
        return hits / max(sum(len(best.positions) for best in exact), 1)

    def _of_class(self, query: Query, k: int, wanted: int) -> Ranking:
        words = query.positive.float().cpu().numpy()
        if hasattr(self._faiss, "nprobe"):
            self._faiss.nprobe = self._effort
        else:
            self._faiss.hnsw.efSearch = max(self._effort, wanted)
        _, proposed = self._faiss.search(words, wanted)
        positions = np.unique(proposed[proposed >= 0])
        kept = [self._index.is_selected(position) for position in positions.tolist()]
        positions = positions[np.array(kept, bool)]
        rows = self._index.embeddings(positions.tolist()).numpy()
        [best] = top_k([(0, rows)], [query], k)
        return Ranking(torch.from_numpy(positions)[best.positions], best.scores)


def check_kind(kind: str) -> None:
    """Refuse a kind of approximate search that does not exist, or whose package is missing.

    Raises:
        UnknownNameError: There is no such kind.
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


def _last_id(index: EmbeddedArchive) -> str:
    return index.photo_id(len(index) - 1) if len(index) else ""


def _import_faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise MissingExtraError("faiss", "faiss", "Approximate search") from error
    return faiss
