"""Exact search for many queries: a fast product screens all rows, and the best are scored exactly.

`retrieval.search.top_k` scores candidates exactly as soon as they appear, for few queries and rows
that come only once. Here there are thousands of queries, and rows can be read again, so that only
the last candidates are scored exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.retrieval.products import products
from recoseg.retrieval.search import Ranking

_SURPLUS = 4
"""If there are more candidates per result than this, those that cannot be among the best are
dropped."""
_ROWS = 4096
"""Number of rows that are read again at a time."""

Take = Callable[[np.ndarray], Float[Tensor, "m d"]]
"""Reads rows by position, fp32."""


def nearest(
    blocks: Iterable[tuple[int, np.ndarray]],
    take: Take,
    queries: Float[Tensor, "q d"],
    k: int,
) -> list[Ranking]:
    """Find the k rows of highest product with each query; the result is that of `top_k`.

    All rows are multiplied once by the fastest product of the processor, whose error is bounded by
    e (see `retrieval.products`). If the k-th best product of a query is a, k rows have an exact
    one of a - e at least, so that the best k are among those whose product is at least a - 2 e.
    These are scored in fp64. Memory holds a few thousand rows with their scores, and the
    candidates.

    Args:
        blocks: Position of the first row and (m, d) float16 or float32 rows of each block, in
            ascending order of position, L2-normalised. Rows with NaN are never found.
        take: Reads rows again, by ascending positions.
        queries: Rows of length 1 at most, fp32, on the CPU.
        k: Number of rows per query.

    Returns:
        One ranking per query, equal scores in order of position.

    Raises:
        ValueError: k is not positive.
    """
    if k < 1:
        raise ValueError(f"k is {k}. Expected 1 or more.")
    if not len(queries):
        return []
    product = products(queries)[0]
    candidates = _Candidates(len(queries), k, 2 * product.error)
    for start, block in blocks:
        for first in range(0, len(block), product.tile):
            rows = block[first : first + product.tile]
            # torch warns about read-only arrays.
            rows = rows if rows.flags.writeable else rows.copy()
            candidates.offer(start + first, product.cosines(torch.from_numpy(rows)))
    query, position = candidates.best()
    return _ranked(query, position, _exact(queries, take, query, position), len(queries), k)


class _Candidates:
    """Rows that may be among the k best of a query, by their products so far.

    Args:
        queries: Number of queries.
        k: Number of rows per query.
        margin: How much lower than the k-th best product that of one of the k best rows may be.
    """

    def __init__(self, queries: int, k: int, margin: float) -> None:
        self._queries, self._k, self._margin = queries, k, margin
        self._bars = torch.full((queries,), float("-inf"))
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self._count = 0
        self._drop_at = self._least = _SURPLUS * queries * k

    def offer(self, start: int, scores: Float[Tensor, "m q"]) -> None:
        """Add the rows of a tile.

        Args:
            start: Position of the first row.
            scores: Products of the rows with the queries; valid during this call.
        """
        found = self._above(scores)
        if len(found) > self._least and len(scores) >= self._k:
            # At the start every row is a candidate; the k-th best of the tile alone is a bar, too.
            usable = scores.masked_fill(~scores.isfinite(), float("-inf"))
            kth = usable.topk(self._k, dim=0).values[-1]
            self._bars = self._bars.maximum(kth - self._margin)
            found = self._above(scores)
        row, query = np.divmod(found, self._queries)
        values = scores.numpy().reshape(-1)[found]
        self._parts.append((query, row + start, values))
        self._count += len(found)
        if self._count >= self._drop_at:
            self._drop()
            self._drop_at = max(self._least, 2 * self._count)

    def best(self) -> tuple[np.ndarray, np.ndarray]:
        """Query and position of each remaining candidate."""
        self._drop()
        [(query, position, _)] = self._parts
        return query, position

    def _above(self, scores: Float[Tensor, "m q"]) -> np.ndarray:
        # Compared by all threads; NumPy finds the few that are left faster than `torch.nonzero`.
        return np.flatnonzero(torch.ge(scores, self._bars).numpy())

    def _drop(self) -> None:
        """Set the bars by the k-th best products, and drop what is below."""
        parts = self._parts or [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, "f4"))]
        query, position, value = (np.concatenate(part) for part in zip(*parts, strict=True))
        usable = np.isfinite(value)
        query, position, value = query[usable], position[usable], value[usable]
        order = np.lexsort((-value, query))
        counts = np.bincount(query, minlength=self._queries)
        kth = order[(np.cumsum(counts) - counts + self._k - 1)[counts >= self._k]]
        bars = self._bars.numpy()
        bars[query[kth]] = np.maximum(bars[query[kth]], value[kth] - np.float32(self._margin))
        kept = value >= bars[query]
        self._parts = [(query[kept], position[kept], value[kept])]
        self._count = int(kept.sum())


def _exact(
    queries: Float[Tensor, "q d"], take: Take, query: np.ndarray, position: np.ndarray
) -> np.ndarray:
    """The product of each candidate, computed in fp64 and rounded to fp32."""
    exact = queries.double()
    scores = np.empty(len(query), np.float32)
    order = np.argsort(position, kind="stable")  # so that each row is read once
    wanted, starts = np.unique(position[order], return_index=True)
    ends = np.append(starts[1:], len(order))
    for first in range(0, len(wanted), _ROWS):
        rows = take(wanted[first : first + _ROWS])
        pairs = order[starts[first] : ends[min(first + _ROWS, len(wanted)) - 1]]
        which = torch.from_numpy(np.searchsorted(wanted[first : first + _ROWS], position[pairs]))
        asked = torch.from_numpy(query[pairs])
        for at in range(0, len(pairs), 512):  # few enough for the processor's cache
            part = slice(at, at + 512)
            products64 = (rows[which[part]].double() * exact[asked[part]]).sum(-1)
            scores[pairs[part]] = products64.float().numpy()
    return scores


def _ranked(
    query: np.ndarray, position: np.ndarray, score: np.ndarray, queries: int, k: int
) -> list[Ranking]:
    usable = np.isfinite(score)
    query, position, score = query[usable], position[usable], score[usable]
    order = np.lexsort((position, -score, query))
    ends = np.cumsum(np.bincount(query, minlength=queries))
    parts = np.split(order, ends[:-1])
    return [
        Ranking(torch.from_numpy(position[part[:k]]), torch.from_numpy(score[part[:k]]))
        for part in parts
    ]
