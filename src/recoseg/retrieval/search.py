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
    best = [_Best(k) for _ in queries]
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
                _absorb(words.scores(buffer), positions, best)
                filled = 0
    if filled:
        # The product keeps its shape, so that rounding does not depend on how many rows are left.
        _absorb(words.scores(buffer)[:, :filled], positions[:filled], best)
    return [item.ranking() for item in best]


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
        self._columns = torch.cat(parts).float().cpu().T.contiguous()
        self._plain = at == len(queries)

    def scores(self, rows: Float[Tensor, "n d"]) -> Float[Tensor, "c n"]:
        """One score per class and row."""
        cosines = rows @ self._columns
        if self._plain:
            return cosines.T.contiguous()
        return torch.stack(
            [combine_names(cosines[:, a:b], cosines[:, b:c]) for a, b, c in self._spans]
        )


class _Best:
    """The k best scores so far, best first, equal ones by position."""

    def __init__(self, k: int) -> None:
        self._k = k
        self._scores = torch.empty(0)
        self._positions = torch.empty(0, dtype=torch.int64)
        self.bar = float("-inf")

    def add(self, scores: Float[Tensor, " m"], positions: Int64[Tensor, " m"]) -> None:
        """Merge candidates whose positions are higher than all before."""
        scores = torch.cat([self._scores, scores])
        # Stable: earlier positions stay in front of later ones with the same score.
        order = torch.sort(scores, descending=True, stable=True).indices[: self._k]
        self._scores = scores[order]
        self._positions = torch.cat([self._positions, positions])[order]
        if len(order) == self._k:
            self.bar = float(self._scores[-1])

    def ranking(self) -> Ranking:
        return Ranking(self._positions, self._scores)


def _absorb(
    scores: Float[Tensor, "c n"], positions: Int64[Tensor, " n"], best: list[_Best]
) -> None:
    """Offer each class the rows above its running k-th score; an equal later one never enters."""
    bars = torch.tensor([item.bar for item in best])
    above = (scores > bars[:, None]) & (scores < float("inf"))
    for index in above.any(1).nonzero().flatten().tolist():
        chosen = above[index]
        best[index].add(scores[index][chosen], positions[chosen])
