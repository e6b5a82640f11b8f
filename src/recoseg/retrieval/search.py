"""Exact nearest photos for all classes in one pass over the archive's embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from recoseg.classes import combine_names
from recoseg.retrieval.products import Product, products

_ROWS = 16_384
"""Most rows that are scored before those that may be among the best are looked for."""
_SCORES = 1 << 21
"""About as many scores are held at once, where there are many words."""
_SURPLUS = 4
"""Candidates per place, above which a block is scored again by a surer product."""
_CANDIDATES = 16_384
"""Most candidates that are held back before they are scored exactly and merged."""


@dataclass(frozen=True)
class Query:
    """The text embeddings of one class.

    Attributes:
        positive: One row per word for the class, L2-normalised, at least one.
        negative: One row per word for what must not be taken for it; may be empty.
    """

    positive: Float[Tensor, "a d"]
    negative: Float[Tensor, "b d"] = field(default_factory=lambda: torch.empty(0, 0))


@dataclass(frozen=True)
class Ranking:
    """The best photos of one class, best first; equal scores by position.

    Attributes:
        positions: In the archive.
        scores: Cosines, combined over the class's words by `combine_names`.
    """

    positions: Int64[Tensor, " m"]
    scores: Float[Tensor, " m"]


def top_k(
    blocks: Iterable[tuple[int, np.ndarray]], queries: Sequence[Query], k: int
) -> list[Ranking]:
    """The k photos of each class with the highest cosine.

    Rows are screened by the fastest product that the processor has, whose error is bounded (see
    `products`); those that may be among the best are scored one by one in fp64. So the result is
    exact and does not depend on the processor or on how the rows are cut into blocks. The rows
    are taken for unit vectors, which `ArchiveIndex` sees to, and are not normalised again. Memory
    holds the scores of 16,384 rows and the running best, however long the archive is.

    Args:
        blocks: First position and (m, d) float16 or float32 rows, in ascending order of position.
        queries: The classes, all of dimension d.
        k: How many photos; more than there are gives all of them. Rows that are not finite are
            never found.

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
    words = _Words(queries)
    best = _Best(words, len(queries), k)
    limit = min(_ROWS, max(1024, _SCORES // max(len(words), 1)))
    pieces: list[tuple[int, Tensor]] = []
    filled, end = 0, 0
    for start, block in blocks:
        if block.ndim != 2 or block.shape[1] != words.dim:
            raise ValueError(
                f"The archive's rows have shape {block.shape[1:]}, the queries dimension "
                f"{words.dim}. Expected both from the same encoder."
            )
        if start < end:
            raise ValueError(f"A block starts at {start} after one that ends at {end}.")
        end = start + len(block)
        first = 0
        while first < len(block):
            rows = block[first : first + limit - filled]
            rows = rows if rows.flags.writeable else rows.copy()  # torch warns of read-only memory
            pieces.append((start + first, torch.from_numpy(rows)))
            first, filled = first + len(rows), filled + len(rows)
            if filled == limit:
                best.offer(pieces)
                pieces, filled = [], 0
    if pieces:
        best.offer(pieces)
    return best.rankings()


def merge(parts: Sequence[Sequence[Ranking]], k: int) -> list[Ranking]:
    """The k best of each class from the rankings of an archive's parts.

    It equals `top_k` of the whole, bit for bit.

    Args:
        parts: For each part one ranking per class; parts in ascending order of position.
        k: How many photos.
    """
    merged = []
    for rankings in zip(*parts, strict=True):
        positions = torch.cat([ranking.positions for ranking in rankings])
        scores = torch.cat([ranking.scores for ranking in rankings])
        merged.append(_first(positions, scores, k))
    return merged


def _first(positions: Int64[Tensor, " n"], scores: Float[Tensor, " n"], k: int) -> Ranking:
    """The k highest scores; of equal ones those that stand further in front."""
    order = torch.sort(scores, descending=True, stable=True).indices[:k]
    return Ranking(positions[order], scores[order])


class _Words:
    """All words of all classes side by side: one product serves every class."""

    def __init__(self, queries: Sequence[Query]) -> None:
        dims = {query.positive.shape[1] for query in queries}
        dims |= {query.negative.shape[1] for query in queries if len(query.negative)}
        if len(dims) != 1 or any(not len(query.positive) for query in queries):
            raise ValueError(
                f"Queries have dimensions {sorted(dims)}. Expected one dimension, and at least one "
                "positive word each."
            )
        self.dim = dims.pop()
        parts, self._spans = [], []
        at = 0
        for query in queries:
            middle = at + len(query.positive)
            stop = middle + len(query.negative)
            self._spans.append((at, middle, stop))
            at = stop
            parts += [query.positive] + ([query.negative] if len(query.negative) else [])
        self._words = torch.cat(parts).float().cpu()
        self._plain = at == len(queries)
        self.products = products(self._words)
        # A combined score moves by at most three times as much as its cosines.
        self.spread = 3 if any(middle < stop for _, middle, stop in self._spans) else 1

    def __len__(self) -> int:
        return len(self._words)

    def scores(
        self, pieces: Sequence[tuple[int, Tensor]], product: Product
    ) -> Float[Tensor, "n c"]:
        """One score per row and class, within `spread` times the product's error."""
        cosines = torch.empty(sum(len(rows) for _, rows in pieces), len(self))
        first = 0
        for _, rows in pieces:
            product.fill(rows, cosines[first : first + len(rows)])
            first += len(rows)
        if self._plain:
            return cosines
        return torch.stack(
            [combine_names(cosines[:, a:b], cosines[:, b:c]) for a, b, c in self._spans], 1
        )

    def exact(self, query: int, rows: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """One class's scores, each row on its own in fp64, then rounded to fp32."""
        first, middle, stop = self._spans[query]
        wide = rows.double()
        columns = [(wide * word).sum(-1) for word in self._words[first:stop].double()]
        cosines = torch.stack(columns, dim=-1)
        count = middle - first
        return combine_names(cosines[:, :count], cosines[:, count:]).float()


class _Best:
    """The k best photos of each class so far, best first, equal scores by position.

    Candidates are gathered until there are about as many as places, since merging each block's
    few into each class's ranking would cost more than the products.
    """

    def __init__(self, words: _Words, classes: int, k: int) -> None:
        self._words = words
        self._k = k
        self._best = [Ranking(torch.empty(0, dtype=torch.int64), torch.empty(0))] * classes
        self._bars = torch.full((classes,), float("-inf"))
        self._patience = min(classes * k, _CANDIDATES)
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        self._count = 0

    def offer(self, pieces: Sequence[tuple[int, Tensor]]) -> None:
        """Take the rows that may be above a class's k-th score.

        Args:
            pieces: Position of the first row, and (m, d) rows, in ascending order.
        """
        for product in self._words.products:
            above = self._above(self._words.scores(pieces, product), product)
            if int(above.sum()) <= _SURPLUS * len(self._best) * self._k:
                break
        pairs = above.nonzero()  # by row, then by class
        for first in range(0, len(pairs), _CANDIDATES):
            row, query = pairs[first : first + _CANDIDATES].unbind(1)
            self._waiting.append((query, *_take(pieces, row)))
            self._count += len(query)
            if self._count >= self._patience:
                self._merge()

    def _above(self, scores: Float[Tensor, "n c"], product: Product) -> Bool[Tensor, "n c"]:
        """Which scores may belong to a row among the best."""
        error = self._words.spread * product.error
        above = (scores > self._bars - error) & (scores < float("inf"))
        if int(above.sum()) > len(self._best) * self._k:
            # No more than k rows of one block can enter a ranking, but for rounding.
            scores = scores.masked_fill(~above, float("-inf"))
            kth = scores.topk(min(self._k, len(scores)), dim=0).values[-1]
            above &= scores >= kth - 2 * error
        return above

    def rankings(self) -> list[Ranking]:
        """The rankings once every row has been offered."""
        self._merge()
        return self._best

    def _merge(self) -> None:
        if not self._waiting:
            return
        query, rows, positions = (torch.cat(parts) for parts in zip(*self._waiting, strict=True))
        self._waiting, self._count = [], 0
        for item in query.bincount().nonzero().flatten().tolist():
            chosen = query == item
            old = self._best[item]
            scores = torch.cat([old.scores, self._words.exact(item, rows[chosen])])
            found = torch.cat([old.positions, positions[chosen]])
            # Earlier positions stand in front of later ones.
            self._best[item] = _first(found, scores, self._k)
            if len(self._best[item].scores) == self._k:
                self._bars[item] = self._best[item].scores[-1]


def _take(
    pieces: Sequence[tuple[int, Tensor]], wanted: Int64[Tensor, " m"]
) -> tuple[Float[Tensor, "m d"], Int64[Tensor, " m"]]:
    """Rows by their number through all pieces, ascending, and their positions."""
    ends = torch.tensor([len(rows) for _, rows in pieces]).cumsum(0)
    counts = torch.bucketize(wanted, ends, right=True).bincount(minlength=len(pieces)).tolist()
    rows, positions = [], []
    first = 0
    for (start, piece), numbers in zip(pieces, torch.split(wanted, counts), strict=True):
        if len(numbers):
            rows.append(piece[numbers - first].float())
            positions.append(numbers - first + start)
        first += len(piece)
    return torch.cat(rows), torch.cat(positions)
