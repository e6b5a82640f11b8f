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


@dataclass(frozen=True)
class Hit:
    """A retrieved photo.

    Attributes:
        position: In the archive.
        score: Cosine to the class, its words combined by `combine_names`.
    """

    position: int
    score: float


def distinct(
    index: EmbeddedArchive, hits: Sequence[Hit], k: int, limit: float = DUPLICATE_COSINE
) -> list[Hit]:
    """The first k hits that are not near-duplicates of a hit before them.

    Args:
        index: The archive.
        hits: Best first.
        k: How many are wanted.
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
