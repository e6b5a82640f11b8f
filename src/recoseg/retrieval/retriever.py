"""The archive's best photos for each class, near-duplicates left out on request."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recoseg.retrieval.duplicates import DUPLICATE_COSINE, EmbeddedArchive, Hit, distinct
from recoseg.retrieval.queries import Query
from recoseg.retrieval.search import Ranking, top_k

Search = Callable[[Sequence[Query], int], list[Ranking]]
"""The k best of each class, as `top_k` of the whole archive gives them."""


def retrieve(
    index: EmbeddedArchive,
    queries: Sequence[Query],
    k: int,
    *,
    skip_duplicates: bool | float = False,
    search: Search | None = None,
) -> list[list[Hit]]:
    """The k best photos of each class, best first, equal scores by position.

    Args:
        index: The archive.
        queries: The classes' text embeddings.
        k: Photos per class; fewer only where the archive has no more.
        skip_duplicates: Leave out photos that are near-duplicates of a better one of the same
            class, and fill up with the next best: equal content, or a cosine between the image
            embeddings above `DUPLICATE_COSINE` (True) or the number given.
        search: What finds them, such as `search_parts`; by default one pass in this process.

    Raises:
        ValueError: k is not positive, dimensions differ, or the threshold is outside (0, 1].
    """
    search = search or (lambda queries, k: top_k(index.blocks(), queries, k))
    if skip_duplicates is False:
        return [_hits(ranking) for ranking in search(queries, k)]
    limit = DUPLICATE_COSINE if skip_duplicates is True else float(skip_duplicates)
    if not 0 < limit <= 1:
        raise ValueError(f"skip_duplicates is {limit}. Expected a cosine above 0 and at most 1.")
    found: list[list[Hit]] = [[] for _ in queries]
    short = list(range(len(queries)))
    wanted = 2 * k
    while short:
        rankings = search([queries[item] for item in short], wanted)
        still = []
        for item, ranking in zip(short, rankings, strict=True):
            found[item] = distinct(index, _hits(ranking), k, limit)
            exhausted = len(ranking.positions) < wanted
            if len(found[item]) < k and not exhausted:
                still.append(item)
        short = still
        wanted *= 4
    return found


def _hits(ranking: Ranking) -> list[Hit]:
    pairs = zip(ranking.positions.tolist(), ranking.scores.tolist(), strict=True)
    return [Hit(position, score) for position, score in pairs]
