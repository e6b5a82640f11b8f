"""Near-duplicates among retrieved photos."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

DUPLICATE_COSINE = 0.95
"""Default threshold: photos whose embeddings have a higher cosine count as near-duplicates.

With `lite`, 95 % of the pairs above it were copies, and two thirds of the copies that were scaled,
compressed again, cropped or mirrored lay above it (docs/results.md)."""


class EmbeddedArchive(Protocol):
    """The part of an index that retrieval uses, implemented by `ArchiveIndex`."""

    @property
    def content(self) -> str:
        """A text that differs when the embeddings or their order have changed."""

    def __len__(self) -> int:
        """Number of photos."""

    def blocks(
        self, *, first: int = 0, stop: int | None = None, selected: bool = True
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The position of the first row and the rows of each block, in order of position.

        Rows that the selection leaves out are NaN if `selected`.
        """

    def is_selected(self, position: int) -> bool:
        """Whether the selection keeps the photo at a position."""

    def embeddings(self, positions: Sequence[int]) -> Float[Tensor, "n d"]:
        """The embeddings at the given positions, fp32, rows L2-normalised."""

    def photo_id(self, position: int) -> str:
        """Id of the photo at a position; photos of equal content have equal ids."""


@dataclass(frozen=True)
class Hit:
    """A retrieved photo.

    Attributes:
        position: Position in the archive.
        score: Cosine with the class, combined over its words by `combine_names`; in [-1, 1],
            or in [-3, 1] with negative words.
    """

    position: int
    score: float


def distinct(
    index: EmbeddedArchive, hits: Sequence[Hit], k: int, limit: float = DUPLICATE_COSINE
) -> list[Hit]:
    """The first k hits that are not near-duplicates of a hit before them.

    Args:
        index: The archive.
        hits: The hits, best first.
        k: Maximum number of hits to return.
        limit: Two photos are near-duplicates if their contents are equal or the cosine of their
            embeddings is above this.
    """
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
