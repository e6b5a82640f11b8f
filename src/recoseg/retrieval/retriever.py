"""The archive's best photos for each class, near-duplicates left out on request."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.retrieval.queries import Query
from recoseg.retrieval.search import Ranking, top_k

DUPLICATE_COSINE = 0.95
"""Two photos whose embeddings are closer than this are taken for one, unless told otherwise.

It suits CLIP, where copies that were scaled, compressed again or slightly cropped lie above it.
Spaces with fewer degrees of freedom, such as that of the preset `lite`, need a higher one."""


class EmbeddedArchive(Protocol):
    """What retrieval needs of an index; `ArchiveIndex` is one."""

    def __len__(self) -> int:
        """Number of photos."""

    def blocks(
        self, *, first: int = 0, stop: int | None = None, selected: bool = True
    ) -> Iterator[tuple[int, np.ndarray]]:
        """First position and rows, in order, of all positions or some; NaN where not selected."""

    def is_selected(self, position: int) -> bool:
        """Whether the photo may be found."""

    def embeddings(self, positions: Sequence[int]) -> Float[Tensor, "n d"]:
        """Rows, L2-normalised."""

    def photo_id(self, position: int) -> str:
        """Equal for equal content."""


Search = Callable[[Sequence[Query], int], list[Ranking]]
"""The k best of each class, as `top_k` of the whole archive gives them."""


@dataclass(frozen=True)
class Hit:
    """A retrieved photo.

    Attributes:
        position: In the archive.
        score: Cosine to the class, its words combined by `combine_names`.
    """

    position: int
    score: float


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
            found[item] = _distinct(index, _hits(ranking), k, limit)
            exhausted = len(ranking.positions) < wanted
            if len(found[item]) < k and not exhausted:
                still.append(item)
        short = still
        wanted *= 4
    return found


def _hits(ranking: Ranking) -> list[Hit]:
    pairs = zip(ranking.positions.tolist(), ranking.scores.tolist(), strict=True)
    return [Hit(position, score) for position, score in pairs]


def _distinct(index: EmbeddedArchive, hits: list[Hit], k: int, limit: float) -> list[Hit]:
    """The first k hits that are no near-duplicates of a hit before them."""
    taken: list[Hit] = []
    contents: set[str] = set()
    rows = torch.empty(0)
    for hit in hits:
        if len(taken) == k:
            break
        row = index.embeddings([hit.position])
        if taken and min(1.0, float((rows @ row[0]).max())) > limit:  # fp16 rounds above 1
            continue
        content = index.photo_id(hit.position)
        if content in contents:
            continue
        contents.add(content)
        rows = torch.cat([rows, row]) if taken else row
        taken.append(hit)
    return taken
