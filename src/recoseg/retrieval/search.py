"""Exact search for all classes in one pass over the embeddings of an archive."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from recoseg.retrieval.products import Product
from recoseg.retrieval.queries import Query, QueryWords

_SURPLUS = 4
"""If there are more candidates per result than this, a more exact product is tried."""
_CANDIDATES = 16_384
"""Maximum number of candidates that are gathered before they are scored exactly and merged."""


@dataclass(frozen=True)
class Ranking:
    """The best photos of one class, best first; equal scores by position.

    Attributes:
        positions: Positions in the archive.
        scores: Cosines, combined over the words of the class by `combine_names`.
    """

    positions: Int64[Tensor, " m"]
    scores: Float[Tensor, " m"]


def top_k(
    blocks: Iterable[tuple[int, np.ndarray]], queries: Sequence[Query], k: int
) -> list[Ranking]:
    """Find the k photos of each class with the highest score.

    Rows are first scored by the fastest product of the processor, whose error is bounded (see
    `products`). Rows that may be among the best are then scored one by one in fp64, so the result
    is exact and does not depend on the processor or on how the rows are divided into blocks. Rows
    must be L2-normalised, which `ArchiveIndex` ensures; they are not normalised again. Memory holds
    a few thousand rows with their scores and the best photos so far, however large the archive is.

    Args:
        blocks: Position of the first row and (m, d) float16 or float32 rows of each block, in
            ascending order of position. Rows with NaN or infinity are never found.
        queries: The classes, all of dimension d.
        k: Number of photos per class; all photos are returned if there are fewer.

    Returns:
        One ranking per query, equal scores in order of position.

    Raises:
        ValueError: k is not positive, dimensions differ, or blocks are out of order.

    Example:
        >>> rows = np.eye(3, dtype=np.float16)
        >>> found = top_k([(0, rows)], [Query(torch.tensor([[0.6, 0.8, 0.0]]))], k=2)
        >>> found[0].positions.tolist()
        [1, 0]
    """
    if k < 1:
        raise ValueError(f"k is {k}. Expected 1 or more.")
    if not queries:
        return []
    words = QueryWords(queries)
    best = _Best(words, len(queries), k)
    tile = words.products[0].tile
    end = 0
    for start, block in blocks:
        if block.ndim != 2 or block.shape[1] != words.dim:
            raise ValueError(
                f"Expected rows of dimension {words.dim}, as the queries have; got rows of shape "
                f"{block.shape[1:]}. Use the same encoder for both."
            )
        if start < end:
            raise ValueError(
                f"A block starts at {start}, but the one before ends at {end}. Expected blocks in "
                "ascending order of position, without overlap."
            )
        end = start + len(block)
        for first in range(0, len(block), tile):
            rows = block[first : first + tile]
            # torch warns about read-only arrays.
            rows = rows if rows.flags.writeable else rows.copy()
            best.offer(start + first, torch.from_numpy(rows))
    return best.rankings()


def merge(parts: Sequence[Sequence[Ranking]], k: int) -> list[Ranking]:
    """Merge the rankings of the parts of an archive.

    The result is bit for bit that of `top_k` on the whole archive.

    Args:
        parts: For each part one ranking per class; parts in ascending order of position.
        k: Number of photos per class.

    Returns:
        One ranking per class.
    """
    merged = []
    for rankings in zip(*parts, strict=True):
        positions = torch.cat([ranking.positions for ranking in rankings])
        scores = torch.cat([ranking.scores for ranking in rankings])
        merged.append(_first(positions, scores, k))
    return merged


def _first(positions: Int64[Tensor, " n"], scores: Float[Tensor, " n"], k: int) -> Ranking:
    """The k highest scores; among equal scores the earlier ones."""
    order = torch.sort(scores, descending=True, stable=True).indices[:k]
    return Ranking(positions[order], scores[order])


class _Best:
    """The k best photos of each class so far.

    Candidates are gathered until there are about as many as requested photos, since merging the
    few candidates of each tile into the rankings would take longer than the products.
    """

    def __init__(self, words: QueryWords, classes: int, k: int) -> None:
        self._words = words
        self._classes = classes
        self._k = k
        # Class, score and position of each photo, by class, best first, equal scores by position.
        self._query = torch.empty(0, dtype=torch.int64)
        self._score = torch.empty(0)
        self._position = torch.empty(0, dtype=torch.int64)
        self._bars = torch.full((classes,), float("-inf"))
        self._merge_at = min(classes * k, _CANDIDATES)
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        self._count = 0

    def offer(self, start: int, rows: Float[Tensor, "m d"]) -> None:
        """Add the rows that may score higher than the k-th photo of a class.

        Args:
            start: Position of the first row.
            rows: A tile of rows whose positions are higher than all before.
        """
        for product in self._words.products:
            row, query = self._above(self._words.scores(rows, product), product)
            if len(row) <= _SURPLUS * self._classes * self._k:
                break
        for row_part, query_part in zip(
            *(torch.split(part, _CANDIDATES) for part in (row, query)), strict=True
        ):
            self._waiting.append((query_part, rows[row_part], row_part + start))
            self._count += len(row_part)
            if self._count >= self._merge_at:
                self._merge()

    def rankings(self) -> list[Ranking]:
        """The rankings, after all rows have been offered."""
        self._merge()
        counts = self._query.bincount(minlength=self._classes).tolist()
        parts = zip(
            torch.split(self._position, counts), torch.split(self._score, counts), strict=True
        )
        return [Ranking(positions, scores) for positions, scores in parts]

    def _above(
        self, scores: Float[Tensor, "m c"], product: Product
    ) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]]:
        """Pairs of a row and a class that may be among the best, as two vectors."""
        found = _at_least(scores, self._words.lowest_score(self._bars, product))
        if len(found[0]) <= self._classes * self._k:
            return found
        # Apart from rounding, at most k rows of one tile can enter a ranking.
        scores = scores.masked_fill(~(scores.abs() < float("inf")), float("-inf"))
        kth = scores.topk(min(self._k, len(scores)), dim=0).values[-1]
        bars = self._words.lowest_exact(kth, product).maximum(self._bars)
        return _at_least(scores, self._words.lowest_score(bars, product))

    def _merge(self) -> None:
        if not self._waiting:
            return
        query, rows, position = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._count = [], 0
        score = self._words.exact(query, rows)
        usable = score.isfinite()
        query = torch.cat([self._query, query[usable]])
        score = torch.cat([self._score, score[usable]])
        position = torch.cat([self._position, position[usable]])
        order = torch.from_numpy(np.lexsort((position, -score, query)))
        counts = query.bincount(minlength=self._classes)
        rank = torch.arange(len(order)) - (counts.cumsum(0) - counts)[query[order]]
        kept = order[rank < self._k]
        self._query, self._score, self._position = query[kept], score[kept], position[kept]
        last = order[rank == self._k - 1]
        self._bars[query[last]] = score[last]


def _at_least(
    scores: Float[Tensor, "m c"], bars: Float[Tensor, " c"]
) -> tuple[Int64[Tensor, " n"], Int64[Tensor, " n"]]:
    """Row and column of every score that is at least the bar of its column, in order of rows.

    NumPy finds these few scores several times faster than `torch.nonzero`.
    """
    found = torch.from_numpy(np.flatnonzero(np.greater_equal(scores.numpy(), bars.numpy())))
    return found // scores.shape[1], found % scores.shape[1]
