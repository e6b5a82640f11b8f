"""What is searched for: the words of all classes, and their scores for rows of the archive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from recoseg.classes import WordSpans, combine_names
from recoseg.retrieval.products import Product, products

_EXACT_ROWS = 512
"""Rows that are scored in fp64 at once: few enough for the processor's cache."""


@dataclass(frozen=True)
class Query:
    """The text embeddings of one class.

    Attributes:
        positive: One row per word for the class, L2-normalised, at least one.
        negative: One row per word for what must not be taken for it; may be empty.
    """

    positive: Float[Tensor, "a d"]
    negative: Float[Tensor, "b d"] = field(default_factory=lambda: torch.empty(0, 0))


class QueryWords:
    """All words of all queries side by side: one product serves every class.

    Args:
        queries: The classes.

    Attributes:
        dim: Length of a word's embedding.
        products: Ways to score rows, the fastest first, the most exact last.

    Raises:
        ValueError: Dimensions differ, or a class has no positive word.
    """

    def __init__(self, queries: Sequence[Query]) -> None:
        dims = {query.positive.shape[1] for query in queries}
        dims |= {query.negative.shape[1] for query in queries if len(query.negative)}
        if len(dims) != 1 or any(not len(query.positive) for query in queries):
            raise ValueError(
                f"Queries have dimensions {sorted(dims)}. Expected one dimension, and at least one "
                "positive word each."
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
        """One score per row and class; they last until the product is used again."""
        cosines = product.cosines(rows)
        return cosines if self._spans.is_plain else self._spans.combine(cosines)

    def lowest_score(self, exact: Float[Tensor, " c"], product: Product) -> Float[Tensor, " c"]:
        """The least that `scores` gives for rows whose exact scores are these or higher."""
        if self._spread == 1:  # the greatest cosine counts, and rounding keeps order
            return product.lowest(exact)
        return exact - self._spread * product.error

    def lowest_exact(self, scores: Float[Tensor, " c"], product: Product) -> Float[Tensor, " c"]:
        """The least exact scores of rows for which `scores` gives these."""
        return scores - self._spread * product.error

    def exact(self, query: Int64[Tensor, " n"], rows: Float[Tensor, "n d"]) -> Float[Tensor, " n"]:
        """Row i's score for class `query[i]`: each row on its own in fp64, then rounded to fp32."""
        first, middle, stop = torch.tensor(self._spans.spans)[query].unbind(1)
        count = stop - first
        row = torch.arange(len(rows)).repeat_interleave(count)
        word = torch.arange(len(row)) - (count.cumsum(0) - count - first)[row]
        cosines = torch.cat(
            [
                (rows[some].double() * self._exact[which]).sum(-1)
                for some, which in zip(
                    *(torch.split(part, _EXACT_ROWS) for part in (row, word)), strict=True
                )
            ]
        )
        # Per row the greatest of its positive words in column 0, of its negative words in 1.
        greatest = torch.full((len(rows), 2), float("-inf"), dtype=torch.float64)
        column = (word >= middle[row]).long()
        greatest.view(-1).scatter_reduce_(0, 2 * row + column, cosines, "amax")
        return combine_names(greatest[:, :1], greatest[:, 1:]).float()
