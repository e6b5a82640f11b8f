"""Verdicts on all photos of an archive, one for each check, and the reason that comes first."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Verdict:
    """What one check says of each photo.

    Attributes:
        check: Name of the check, such as `blurred`.
        reason: Why photos are left out, as the selection says it.
        is_out: Whether the photo is left out, (n,) bool.
        scores: What was measured, (n,) float32; NaN for photos that were not judged.
        limit: The limit of the scores; NaN if the check has none.
        kept: For copies, the position of the photo that is kept in their stead, (n,) int64, and -1
            for other photos; None for checks that compare no photos.
    """

    check: str
    reason: str
    is_out: np.ndarray
    scores: np.ndarray
    limit: float = math.nan
    kept: np.ndarray | None = None

    @classmethod
    def above(cls, check: str, reason: str, scores: np.ndarray, limit: float) -> Verdict:
        """Leave out photos whose score is above a limit; NaN is not."""
        return cls(check, reason, scores > limit, scores, limit)

    @classmethod
    def below(cls, check: str, reason: str, scores: np.ndarray, limit: float) -> Verdict:
        """Leave out photos whose score is below a limit; NaN is not."""
        return cls(check, reason, scores < limit, scores, limit)

    @classmethod
    def plain(cls, check: str, reason: str, is_out: np.ndarray) -> Verdict:
        """Leave out photos for a reason that has no degrees."""
        return cls(check, reason, is_out, np.full(len(is_out), np.nan, np.float32))

    def sparing(self, spared: np.ndarray) -> Verdict:
        """The verdict without some photos, (n,) bool, which stay whatever was measured."""
        return replace(self, is_out=self.is_out & ~spared)

    def is_near(self) -> np.ndarray:
        """Which scores differ from the limit by no more than a quarter of it, or 0.05, (n,) bool.

        None does if the check has no limit.

        Example:
            >>> scores = np.array([47, 52, 80, 81, np.nan], np.float32)
            >>> Verdict.below("tiny", "tiny", scores, 64).is_near().tolist()
            [False, True, True, False, False]
        """
        return np.abs(self.scores - self.limit) <= max(abs(self.limit) / 4, 0.05)

    def doubtful(self, among: np.ndarray, count: int) -> np.ndarray:
        """The photos whose scores are nearest to the limit.

        Args:
            among: Which photos to choose from, (n,) bool.
            count: Maximum number of photos.

        Returns:
            Their positions, the nearest first; photos without a score come last, and are left out
            if the check has a limit.

        Example:
            >>> scores = np.array([0.1, 0.6, 0.4, np.nan], np.float32)
            >>> one = Verdict.above("people", "people", scores, 0.5)
            >>> one.doubtful(~one.is_out, 2).tolist()
            [2, 0]
        """
        if math.isnan(self.limit):
            return np.flatnonzero(among)[:count]
        at = np.flatnonzero(among & np.isfinite(self.scores))
        distance = np.abs(self.scores[at] - self.limit)
        return at[np.argsort(distance, kind="stable")[:count]]


def first_reasons(verdicts: Sequence[Verdict], count: int) -> np.ndarray:
    """For each photo the number of the first verdict that leaves it out, (n,) int64; -1 for none.

    Example:
        >>> outs = [np.array([True, False, False]), np.array([True, True, False])]
        >>> verdicts = [Verdict.plain("a", "a", out) for out in outs]
        >>> first_reasons(verdicts, 3).tolist()
        [0, 1, -1]
    """
    found = np.full(count, -1, np.int64)
    for number, verdict in enumerate(verdicts):
        found[verdict.is_out & (found < 0)] = number
    return found
