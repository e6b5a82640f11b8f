"""PAMR of large photos, strip by strip from top to bottom, in memory that does not grow with them.

A step needs, for each row, only those rows of the step before that the largest dilation reaches. So
all steps go down the photo together, each of them that many rows behind the one before, and none
holds more rows than the next one needs. Nothing is computed twice, and the results are those of
`pamr`. Photos that are too wide for this are divided into lanes of columns. The columns beside a
lane that its results depend on are computed with it.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.refinement.neighbours import neighbour_sums, strip_indices
from recoseg.refinement.pamr import affinity_rows, neighbour_offsets, strip_affinities

MAX_REFINED = 1_500_000_000
"""Photos whose refinement needs more memory than this are refined in strips, bytes."""

_ALIGNED = 16
"""Strips begin at multiples of this many rows, so that a softmax over their classes treats the same
pixels together as one over the whole photo and gives the same digits."""

_ROWS = 32  # the fewest rows of a strip; each step copies 2 * dilation rows for each of them
_READING = 10  # maps of its classes while a strip is read and another labelled, and gaps between
_COMPUTING = 12  # numbers per neighbour that exist while the weights of some rows are computed
_OTHERS = 64  # bytes per pixel of other buffers where a whole photo is refined


@dataclass(frozen=True)
class Lane:
    """Columns of a photo that are refined by themselves.

    Attributes:
        columns: The columns with results.
        around: These and the columns that they depend on.
    """

    columns: slice
    around: slice

    @property
    def inside(self) -> slice:
        """`columns`, counted from the first of `around`."""
        first = self.around.start
        return slice(self.columns.start - first, self.columns.stop - first)


@dataclass(frozen=True)
class StripPlan:
    """How a photo is refined.

    Attributes:
        lanes: The lanes that are refined one after the other; none where the whole photo is
            refined at once.
        rows: Rows of a strip.
        needed: Estimate of the memory that this needs, with the score maps, bytes.
    """

    lanes: tuple[Lane, ...]
    rows: int
    needed: int

    def strips(self, height: int) -> Iterator[slice]:
        """The rows of each strip from top to bottom; the last one has some more, or fewer."""
        start = 0
        while start < height:
            end = start + self.rows
            if height - end < _ALIGNED:  # a product of few rows may be added up in another order
                end = height
            yield slice(start, end)
            start = end


def plan_strips(
    classes: int, height: int, width: int, iterations: int, dilations: tuple[int, ...]
) -> StripPlan:
    """Whether a photo is refined as a whole or in strips, such that it needs little memory.

    Args:
        classes: Number of score maps.
        height: Of the photo, pixels.
        width: Of the photo, pixels.
        iterations: Number of steps.
        dilations: Distances of the neighbours, in pixels.
    """
    margin, count = max(dilations), 8 * len(dilations)
    whole = (16 * classes + 4 * count + _OTHERS) * height * width
    rows = -(-max(_ROWS, margin) // _ALIGNED) * _ALIGNED
    reach = iterations * margin
    held = iterations * _capacity(rows, margin, width)
    weights = reach + 3 * rows + (1 + _COMPUTING) * affinity_rows(width)
    per_column = 4 * (classes * (held + _READING * rows) + count * weights)
    inner = max(MAX_REFINED // per_column - 2 * reach, reach, 1)
    if per_column * width <= MAX_REFINED:
        inner = width
    lanes = tuple(_lanes(width, inner, reach))
    needed = per_column * max(lane.around.stop - lane.around.start for lane in lanes)
    if whole <= max(MAX_REFINED, needed):
        return StripPlan((), height, whole)
    return StripPlan(lanes, rows, needed)


def _lanes(width: int, inner: int, reach: int) -> Iterator[Lane]:
    count = -(-width // inner)
    edges = [width * place // count for place in range(count + 1)]
    for start, end in itertools.pairwise(edges):
        yield Lane(slice(start, end), slice(max(0, start - reach), min(width, end + reach)))


def _capacity(rows: int, margin: int, width: int) -> int:
    """The most rows that a step holds: what the next one needs, a strip, and what it waits for."""
    return 2 * margin + rows + _ALIGNED + affinity_rows(width)


def pamr_strips(
    strips: Iterable[tuple[UInt8[Tensor, "3 _ w"], Float[Tensor, "c _ w"]]],
    height: int,
    rows: int,
    iterations: int,
    dilations: tuple[int, ...],
) -> Iterator[Float[Tensor, "c _ w"]]:
    """Refine a photo that is given strip by strip; see `pamr`.

    Args:
        strips: Pixels and score maps of the photo from top to bottom.
        height: Rows of the photo.
        rows: Rows of each strip; the last one may have up to `_ALIGNED` more, or fewer.
        iterations: Number of steps.
        dilations: Distances of the neighbours, in pixels.

    Yields:
        The refined maps, fp32, from top to bottom in strips of any heights.
    """
    rolling: _Rolling | None = None
    for pixels, maps in strips:
        if rolling is None:
            rolling = _Rolling(maps, height, rows, iterations, dilations)
        yield from rolling.add(pixels, maps)
    if rolling is not None:
        yield from rolling.finish()


class _Rolling:
    """All steps at once, each as far as the rows that have come allow."""

    def __init__(
        self, maps: Tensor, height: int, rows: int, iterations: int, dilations: tuple[int, ...]
    ) -> None:
        classes, _, width = maps.shape
        self._margin = max(dilations)
        self._weights = _Weights(height, width, dilations)
        offsets = neighbour_offsets(dilations)
        self._indices = strip_indices(height, width, offsets, maps.device)
        capacity = min(_capacity(rows, self._margin, width), height + 2 * self._margin)
        shape = (capacity, width, classes)
        self._steps = [_Window(shape, maps.device) for _ in range(iterations)]

    def add(
        self, pixels: UInt8[Tensor, "3 _ w"], maps: Float[Tensor, "c _ w"]
    ) -> Iterator[Float[Tensor, "c _ w"]]:
        """Add a strip; yields the rows that are done."""
        if not self._steps:
            yield maps.float()
            return
        self._weights.add(pixels)
        self._put(0, maps.permute(1, 2, 0))
        yield from self._advance(0)

    def finish(self) -> Iterator[Float[Tensor, "c _ w"]]:
        """Yield the last rows."""
        for place, step in enumerate(self._steps):
            outermost = step.rows(step.end - 1, step.end).clone()
            step.place(self._margin).copy_(outermost)
            yield from self._advance(place)

    def _put(self, place: int, rows: Tensor) -> None:
        step = self._steps[place]
        if step.end == 0:  # beyond the border the outermost pixels are repeated
            step.place(self._margin).copy_(rows[0])
        step.place(len(rows)).copy_(rows)

    def _advance(self, first: int) -> Iterator[Tensor]:
        """Let each step from `first` compute what it can."""
        for place in range(first, len(self._steps)):
            step = self._steps[place]
            start, stop = step.first, min(step.end - 2 * self._margin, self._weights.end)
            if stop <= start:
                return
            found = torch.empty(stop - start, *step.shape, device=step.device)
            padded = step.rows(start, stop + 2 * self._margin)
            for piece, weights in self._weights.between(start, stop):
                around = padded[piece.start : piece.stop + 2 * self._margin]
                neighbour_sums(around, weights, self._indices, found[piece])
            step.drop(stop)
            if place + 1 < len(self._steps):
                self._put(place + 1, found)
            else:
                self._weights.drop(stop)
                yield found.permute(2, 0, 1)


class _Window:
    """Consecutive rows of maps, of which the first are dropped as new ones come."""

    def __init__(self, shape: tuple[int, int, int], device: torch.device) -> None:
        self._maps = torch.empty(shape, device=device)
        self._offset = 0  # the row that lies first in memory
        self.first = self.end = 0  # rows that are held, margins among them
        self.shape, self.device = shape[1:], device

    def place(self, count: int) -> Tensor:
        """Where the next rows are written to."""
        if self.end + count - self._offset > len(self._maps):
            held = self.rows(self.first, self.end)
            overlaps = self.end - self.first > self.first - self._offset
            self._maps[: len(held)] = held.clone() if overlaps else held
            self._offset = self.first
        self.end += count
        return self.rows(self.end - count, self.end)

    def rows(self, start: int, end: int) -> Tensor:
        """Rows that are held."""
        return self._maps[start - self._offset : end - self._offset]

    def drop(self, start: int) -> None:
        """Forget the rows before `start`."""
        self.first = start


class _Weights:
    """The weights of those rows that a step still needs."""

    def __init__(self, height: int, width: int, dilations: tuple[int, ...]) -> None:
        self._height, self._margin = height, max(dilations)
        self._offsets = neighbour_offsets(dilations)
        self._at_once = affinity_rows(width)
        self._pixels: Tensor | None = None
        self._first = 0  # row of the first of these pixels
        self._blocks: deque[tuple[int, Tensor]] = deque()
        self.end = 0

    def add(self, pixels: UInt8[Tensor, "3 _ w"]) -> None:
        """Compute the weights of those rows whose neighbours are known now."""
        known = pixels if self._pixels is None else torch.cat([self._pixels, pixels], 1)
        seen = self._first + known.shape[1]
        stop = self._height
        if seen < self._height:  # in the same portions as for a whole photo
            stop = max(seen - self._margin, self.end) // self._at_once * self._at_once
        if stop > self.end:
            self._blocks.append((self.end, self._compute(known, stop)))
            self.end = stop
        kept = max(self._first, self.end - self._margin)
        self._pixels, self._first = known[:, kept - self._first :].clone(), kept

    def _compute(self, known: UInt8[Tensor, "3 _ w"], stop: int) -> Float[Tensor, "_ w k"]:
        margin, width = self._margin, known.shape[2]
        block = torch.empty(stop - self.end, width, len(self._offsets), device=known.device)
        for start in range(self.end, stop, self._at_once):
            end = min(start + self._at_once, stop)
            around = torch.arange(start - margin, end + margin, device=known.device)
            strip = known[:, around.clamp(0, self._height - 1) - self._first].float()
            padded = F.pad(strip[None], [margin, margin, 0, 0], mode="replicate")[0]
            found = strip_affinities(padded, self._offsets, margin).permute(1, 2, 0)
            block[start - self.end : end - self.end] = found
        return block

    def between(self, start: int, stop: int) -> Iterator[tuple[slice, Tensor]]:
        """The weights of rows `start` to `stop` in pieces, with their places from `start`."""
        for first, block in self._blocks:
            low, high = max(start, first), min(stop, first + len(block))
            if low < high:
                yield slice(low - start, high - start), block[low - first : high - first]

    def drop(self, start: int) -> None:
        """Forget the weights of the rows before `start`."""
        while self._blocks and self._blocks[0][0] + len(self._blocks[0][1]) <= start:
            self._blocks.popleft()
