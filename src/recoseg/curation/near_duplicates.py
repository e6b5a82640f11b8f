"""Near-duplicates in a whole archive: of photos that look the same, the best one is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.onednn import linear
from recoseg.retrieval.products import products

BLOCK = 2048
"""Number of photos that are compared with as many others at once: 16 MB of cosines."""

Rows = Callable[[np.ndarray], Float[Tensor, "m d"]]
"""Reads embeddings by position, fp32, rows L2-normalised."""

Alike = Callable[[int, int], bool]
"""Whether two photos, given by position, look the same for another reason than their embeddings."""


@dataclass(frozen=True)
class Nearest:
    """For each photo the most similar one among the better photos that are kept.

    Attributes:
        kept: Position of that photo, (n,) int64; -1 if none has a cosine above the lower bound.
        cosine: Their cosine, (n,) float32; 0 where there is none.
        is_copy: Whether the photo is a near-duplicate of it, (n,) bool.
    """

    kept: np.ndarray
    cosine: np.ndarray
    is_copy: np.ndarray


def near_duplicates(
    rows: Rows,
    order: np.ndarray,
    count: int,
    limit: float,
    floor: float | None = None,
    alike: Alike | None = None,
    advance: Callable[[int], object] = lambda _: None,
    block: int = BLOCK,
) -> Nearest:
    """Go through photos from the best to the worst, and keep each that resembles none kept so far.

    A photo is compared with the most similar one of those that are kept. Every photo that is not
    kept is thus a near-duplicate of one that is: photos that merely have a chain of near-duplicates
    between them, such as the frames of a video, do not count as one.

    Each block of photos is multiplied with all photos that have been kept before. The fastest
    product of the processor finds the pairs whose cosine may be above `floor` (its error is
    bounded; see `retrieval.products`), and only those are computed in fp32. Time is quadratic in
    the number of kept photos; memory holds two blocks of embeddings and their cosines, and a few
    numbers per photo.

    Args:
        rows: Reads embeddings by position.
        order: Positions of the photos to compare, the best first, int64.
        count: Number of photos of the archive, n.
        limit: Photos with a higher cosine are near-duplicates.
        floor: Lower cosines are not told; by default `limit`.
        alike: Judges pairs whose cosine is between `floor` and `limit`, too; None if nothing does.
        advance: Called with the number of photos that have been compared since the last call.
        block: Number of photos that are compared with as many others at once.

    Raises:
        ValueError: The bounds are not in the order -1 <= floor <= limit <= 1.

    Example:
        >>> plane = torch.tensor([[1.0, 0.0], [0.999, 0.045], [0.0, 1.0]])
        >>> found = near_duplicates(lambda at: plane[at], np.array([1, 0, 2]), 3, 0.99)
        >>> found.kept.tolist(), found.is_copy.tolist()
        ([1, -1, -1], [True, False, False])
    """
    floor = limit if floor is None else floor
    if not -1 <= floor <= limit <= 1:
        raise ValueError(f"Expected -1 <= floor <= limit <= 1; got {floor} and {limit}.")
    kept = np.full(count, -1, np.int64)
    cosine = np.zeros(count, np.float32)
    is_copy = np.zeros(count, bool)
    taken = np.empty(len(order), np.int64)
    total = 0
    for start in range(0, len(order), block):
        here = order[start : start + block]
        found = _BestOf(rows(here), floor)
        for earlier in _parts(taken[:total], block):
            found.compare(rows(earlier), earlier)
        found.compare_within(here, limit, alike)
        kept[here], cosine[here], is_copy[here] = found.kept, found.cosine, found.is_copy
        new = here[~found.is_copy]
        taken[total : total + len(new)] = new
        total += len(new)
        advance(len(here))
    return Nearest(kept, cosine, is_copy)


class _BestOf:
    """The best match so far of each photo of a block.

    Args:
        block: Embeddings of the photos.
        floor: Matches must have a higher cosine.
    """

    def __init__(self, block: Float[Tensor, "m d"], floor: float) -> None:
        self._block = block
        self._floor = floor
        self._fast = products(block)[0]
        self.kept = np.full(len(block), -1, np.int64)
        self.cosine = np.zeros(len(block), np.float32)
        self.is_copy = np.zeros(len(block), bool)

    def compare(self, rows: Float[Tensor, "k d"], positions: np.ndarray) -> None:
        """Compare the block with photos that are kept."""
        lowest = self._fast.lowest(torch.tensor([self._floor], dtype=torch.float64))
        near = torch.zeros(len(self._block), dtype=torch.bool)
        for tile in torch.split(rows, self._fast.tile):
            near |= (self._fast.cosines(tile) >= lowest).any(0)
        at = near.nonzero()[:, 0]
        if len(at):
            best = _cosines(self._block[at], rows).max(1)
            self._offer(at.numpy(), best.values.numpy(), positions[best.indices.numpy()])

    def compare_within(self, positions: np.ndarray, limit: float, alike: Alike | None) -> None:
        """Compare the photos of the block, best first, with those before that are kept; judge."""
        cosines = _cosines(self._block, self._block).numpy()
        for row in range(len(cosines)):
            before = np.where(self.is_copy[:row], -1, cosines[row, :row])
            if before.max(initial=-1) > self._floor:
                best = int(before.argmax())
                self._offer(np.array([row]), before[best : best + 1], positions[best : best + 1])
            if self.kept[row] >= 0:
                pair = int(positions[row]), int(self.kept[row])
                close = bool(self.cosine[row] > limit)
                self.is_copy[row] = close or (alike is not None and alike(*pair))

    def _offer(self, at: np.ndarray, cosine: np.ndarray, kept: np.ndarray) -> None:
        better = (cosine > self._floor) & ((self.kept[at] < 0) | (cosine > self.cosine[at]))
        self.cosine[at[better]] = cosine[better]
        self.kept[at[better]] = kept[better]


def _cosines(one: Float[Tensor, "m d"], other: Float[Tensor, "k d"]) -> Float[Tensor, "m k"]:
    return linear(one, other).clamp(max=1)  # float16 rounds the rows to lengths above 1


def _parts(positions: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(positions), size):
        yield positions[start : start + size]


def best_first(pixels: np.ndarray, sharpness: np.ndarray, size: np.ndarray) -> np.ndarray:
    """The order in which photos are kept: the largest first, then the sharpest.

    Args:
        pixels: Number of pixels of each photo, (n,).
        sharpness: Sharpness of each photo, (n,); NaN if it is not known, which counts as the
            lowest.
        size: Size of each file in bytes, (n,): of equal photos the one that was compressed least.

    Returns:
        Positions, (n,) int64; photos that are equal in all of these in order of position.

    Example:
        >>> best_first(np.array([4, 9, 9]), np.array([0.5, 0.1, 0.2]), np.zeros(3)).tolist()
        [2, 1, 0]
    """
    known = np.nan_to_num(sharpness, nan=-np.inf, neginf=-np.inf)
    return np.lexsort((np.arange(len(pixels)), -size, -known, -pixels)).astype(np.int64)
