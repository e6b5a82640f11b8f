"""Retrieval of the best photos for each class, optionally without near-duplicates."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recoseg.retrieval.duplicates import DUPLICATE_COSINE, EmbeddedArchive, Hit, distinct
from recoseg.retrieval.queries import Query
from recoseg.retrieval.search import Ranking, top_k

Search = Callable[[Sequence[Query], int], list[Ranking]]
"""A function that finds the k best photos of each query, with the same result as `top_k`."""


def retrieve(
    index: EmbeddedArchive,
    queries: Sequence[Query],
    k: int,
    *,
    skip_duplicates: bool | float = False,
    search: Search | None = None,
) -> list[list[Hit]]:
    """Find the k best photos of each class (paper, section 3.2).

    Args:
        index: The archive.
        queries: Text embeddings of the classes.
        k: Number of photos per class.
        skip_duplicates: Whether to leave out near-duplicates of a better photo of the same class
            and take the next best photos instead. Near-duplicates have equal content, or a cosine
            between their image embeddings above `DUPLICATE_COSINE` (True) or above the given
            number, in (0, 1].
        search: Function that finds the photos, such as `search_parts`. By default one pass over
            the archive in this process.

    Returns:
        The hits of each class, best first, equal scores in order of position; fewer than k only
        if the archive has no more photos.

    Raises:
        ValueError: k is not positive, the lengths of embeddings differ, or the threshold is
            outside (0, 1].
    """
    search = search or (lambda queries, k: top_k(index.blocks(), queries, k))
    if skip_duplicates is False:
        return [_hits(ranking) for ranking in search(queries, k)]
    limit = DUPLICATE_COSINE if skip_duplicates is True else float(skip_duplicates)
    if not 0 < limit <= 1:
        raise ValueError(f"skip_duplicates is {limit}. Expected a cosine above 0 and at most 1.")
    found: list[list[Hit]] = [[] for _ in queries]
    incomplete = list(range(len(queries)))
    requested = 2 * k
    while incomplete:
        rankings = search([queries[item] for item in incomplete], requested)
        remaining = []
        for item, ranking in zip(incomplete, rankings, strict=True):
            found[item] = distinct(index, _hits(ranking), k, limit)
            exhausted = len(ranking.positions) < requested
            if len(found[item]) < k and not exhausted:
                remaining.append(item)
        incomplete = remaining
        requested *= 4
    return found


def _hits(ranking: Ranking) -> list[Hit]:
    pairs = zip(ranking.positions.tolist(), ranking.scores.tolist(), strict=True)
    return [Hit(position, score) for position, score in pairs]
