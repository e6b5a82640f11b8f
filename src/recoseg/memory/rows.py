"""Rows of several shards as one sequence, without copying them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate

import numpy as np

_COPIED_ROWS = 8192
"""Number of rows that are copied at a time if some of them are left out."""


class ShardRows:
    """The rows of all shards, each shard opened when it is first used.

    Args:
        counts: Number of rows of each shard.
        dim: Length of a row.
        load: Opens the rows of a shard, (n, dim) float16.
    """

    def __init__(self, counts: Sequence[int], dim: int, load: Callable[[int], np.ndarray]) -> None:
        self.dim = dim
        self._starts = np.array(list(accumulate(counts, initial=0)))
        self._load = load
        self._open: dict[int, np.ndarray] = {}

    def __len__(self) -> int:
        return int(self._starts[-1])

    def shard(self, number: int) -> np.ndarray:
        """The rows of a shard."""
        if number not in self._open:
            self._open[number] = self._load(number)
        return self._open[number]

    def locate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The shard and the row in it of each position.

        Raises:
            IndexError: A position is outside.
        """
        if len(positions) and not 0 <= positions.min() <= positions.max() < len(self):
            raise IndexError(f"positions are outside 0 to {len(self) - 1}")
        shard = np.searchsorted(self._starts, positions, "right") - 1
        return shard, positions - self._starts[shard]

    def blocks(
        self,
        rows: int,
        first: int,
        stop: int | None,
        left_out: Callable[[int], np.ndarray],
    ) -> Iterator[tuple[int, np.ndarray]]:
        """The position of the first row and the rows of each block, in order.

        Args:
            rows: Maximum number of rows per block.
            first: The first position.
            stop: The position after the last one; None for all.
            left_out: For a shard, which of its rows are replaced by NaN; empty for none.
        """
        stop = len(self) if stop is None else stop
        for number, (start, end) in enumerate(
            zip(self._starts[:-1].tolist(), self._starts[1:].tolist(), strict=True)
        ):
            low, high = max(first, start) - start, min(stop, end) - start
            if low >= high:
                continue
            found, out = self.shard(number), left_out(number)
            step = min(rows, _COPIED_ROWS) if out.any() else rows
            for at in range(low, high, step):
                block = found[at : min(at + step, high)]
                if out[at : at + len(block)].any():
                    block = np.where(out[at : at + len(block), None], np.float16("nan"), block)
                yield start + at, block

    def take(self, positions: np.ndarray, columns: slice = slice(None)) -> np.ndarray:
        """The rows at some positions, (m, width) float16.

        Args:
            positions: (m,) positions.
            columns: Which columns to take.
        """
        shards, rows = self.locate(positions)
        width = len(range(*columns.indices(self.dim)))
        found = np.empty((len(positions), width), np.float16)
        for number in np.unique(shards).tolist():
            at = shards == number
            found[at] = self.shard(number)[rows[at], columns]
        return found
