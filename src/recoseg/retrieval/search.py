"""Exact nearest photos for all classes in one pass over the archive's embeddings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from recoseg.classes import combine_names

_ROWS = 2048
"""Rows per product: few enough for the processor's cache, many enough for its matrix units."""
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

    Products are in fp32 from the rows as they are stored. The rows are taken for unit vectors,
    which `ArchiveIndex` sees to, and are not normalised again. Memory holds one product of 2,048
    rows and the running best, however long the archive is. How the rows are cut into blocks does
    not change a bit of the result.

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
    buffer = torch.zeros(_ROWS, words.dim)
    positions = torch.empty(_ROWS, dtype=torch.int64)
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
            count = min(_ROWS - filled, len(block) - first)
            rows = block[first : first + count]
            rows = rows if rows.flags.writeable else rows.copy()  # torch warns of read-only memory
            buffer[filled : filled + count].copy_(torch.from_numpy(rows))
            torch.arange(
                start + first, start + first + count, out=positions[filled : filled + count]
            )
            first, filled = first + count, filled + count
            if filled == _ROWS:
                best.offer(buffer, positions)
                filled = 0
    if filled:
        best.offer(buffer[:filled], positions[:filled])
    return best.rankings()


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
        # Bound of the rounding of an fp32 dot product of unit vectors, summed in any order; the
        # combined score moves by at most three times as much.
        self.error = 3 * 1.02 * (self.dim + 2) * torch.finfo(torch.float32).eps

    def scores(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "c n"]:
        """One score per class and row, within `error` of the exact one."""
        cosines = rows @ self._words.T
        if self._plain:
            return cosines.T.contiguous()
        return torch.stack(
            [combine_names(cosines[:, a:b], cosines[:, b:c]) for a, b, c in self._spans]
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
        self._bars = torch.full((classes, 1), float("-inf"))
        self._patience = min(classes * k, _CANDIDATES)
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []
        self._count = 0

    def offer(self, rows: Float[Tensor, "n d"], positions: Int64[Tensor, " n"]) -> None:
        """Take the rows that may be above a class's k-th score; positions go on ascending."""
        scores = self._words.scores(rows)
        floor = self._bars - self._words.error
        above = (scores > floor) & (scores < float("inf"))
        if int(above.sum()) > len(self._best) * self._k:
            # No more than k rows of one block can enter a ranking, but for rounding.
            scores = scores.masked_fill(~above, float("-inf"))
            kth = scores.topk(min(self._k, len(rows)), dim=1).values[:, -1:]
            above &= scores >= kth - 2 * self._words.error
        # Sorted by class, then by row.
        pairs = above.nonzero()
        for first in range(0, len(pairs), _CANDIDATES):
            query, row = pairs[first : first + _CANDIDATES].unbind(1)
            self._waiting.append((query, rows[row], positions[row]))
            self._count += len(query)
            if self._count >= self._patience:
                self._merge()

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
            # Stable: earlier positions stay in front of later ones with the same score.
            order = torch.sort(scores, descending=True, stable=True).indices[: self._k]
            found = torch.cat([old.positions, positions[chosen]])[order]
            self._best[item] = Ranking(found, scores[order])
            if len(order) == self._k:
                self._bars[item] = scores[order[-1]]
