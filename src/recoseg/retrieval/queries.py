"""Queries: the text embeddings of classes, and their scores for rows of the archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from recoseg.classes import WordSpans, combine_names
from recoseg.retrieval.products import Product, products

_EXACT_ROWS = 512
"""Number of rows that are scored in fp64 at once; they fit the processor's cache."""


@dataclass(frozen=True)
class Query:
    """The text embeddings of one class.

    Attributes:
        positive: One L2-normalised row per positive word, at least one.
        negative: One L2-normalised row per negative word; may be empty.
    """

    positive: Float[Tensor, "a d"]
    negative: Float[Tensor, "b d"] = field(default_factory=lambda: torch.empty(0, 0))


class QueryWords:
    """The words of all queries in one matrix, so that one product scores all classes.

    Args:
        queries: The classes.

    Attributes:
        dim: Length of a word's embedding.
        products: The products that score rows, from the fastest to the most exact.

    Raises:
        ValueError: The lengths of embeddings differ, or a class has no positive word.
    """

    def __init__(self, queries: Sequence[Query]) -> None:
        dims = {query.positive.shape[1] for query in queries}
        dims |= {query.negative.shape[1] for query in queries if len(query.negative)}
        if len(dims) != 1 or any(not len(query.positive) for query in queries):
            raise ValueError(
                "Expected queries of one dimension, each with at least one positive word; got the "
                f"dimensions {sorted(dims)}."
            )
        self.dim = dims.pop()
        self._spans = WordSpans.of([(len(q.positive), len(q.negative)) for q in queries])
        parts = [part for q in queries for part in (q.positive, q.negative) if len(part)]
        words = torch.cat(parts).float().cpu()
        self._exact = words.double()
        # A combined score moves by at most three times as much as its cosines.
        self._spread = 3 if self._spans.has_negatives else 1
        self.products = products(words)

    def scores(self, rows: Float[Tensor, "m d"], product: Product) -> Float[Tensor, "m c"]:
        """One score per row and class, fp32; valid until the product is used again."""
        cosines = product.cosines(rows)
        return cosines if self._spans.is_plain else self._spans.combine(cosines)

    def lowest_score(self, exact: Float[Tensor, " c"], product: Product) -> Float[Tensor, " c"]:
        """Lower bound of `scores` for rows whose exact scores are at least `exact`."""
        if self._spread == 1:  # the score is the largest cosine, and rounding preserves order
            return product.lowest(exact)
        return exact - self._spread * product.error

    def lowest_exact(self, scores: Float[Tensor, " c"], product: Product) -> Float[Tensor, " c"]:
        """Lower bound of the exact scores of rows whose computed scores are `scores`."""
        return scores - self._spread * product.error

    def exact(self, query: Int64[Tensor, " n"], rows: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """The score of row i for class `query[i]`: computed in fp64, then rounded to fp32."""
        first, middle, stop = torch.tensor(self._spans.spans)[query].unbind(1)
        count = stop - first
        row = torch.arange(len(rows)).repeat_interleave(count)
        word = torch.arange(len(row)) - (count.cumsum(0) - count - first)[row]
        cosines = torch.cat(
            [
                (rows[row_part].double() * self._exact[word_part]).sum(-1)
                for row_part, word_part in zip(
                    *(torch.split(part, _EXACT_ROWS) for part in (row, word)), strict=True
                )
            ]
        )
        # The largest cosine of each row: with positive words in column 0, with negative in 1.
        greatest = torch.full((len(rows), 2), float("-inf"), dtype=torch.float64)
        column = (word >= middle[row]).long()
        greatest.view(-1).scatter_reduce_(0, 2 * row + column, cosines, "amax")
        return combine_names(greatest[:, :1], greatest[:, 1:]).float()
