"""How well an archive shows a class: the photos it was learnt from, and a verdict on them.

A class is always learnt from the k photos that fit its words best, whether they show it or not. To
tell, their scores are compared with those of all photos. The step is the spread of the archive: how
far the 16th percentile of the scores of all photos lies below their median, on average over a few
everyday words. A photo stands out if its score is at least `STANDS_OUT` such steps above the median
of all photos for its class. The two constants below were chosen on one archive with the preset
`lite`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from recoseg.errors import RecosegError

STANDS_OUT = 7.0
"""Steps above the median of all photos from which a photo is taken for evidence of a class."""

LEAST_EVIDENCE = 3
"""Photos that have to stand out if a class is not to count as absent: similar things give one or
two."""

LEAST_ARCHIVE = 100
"""Photos of an archive without which nothing can be said about the scores of all photos."""

YARDSTICK = ("tree", "sky", "building", "road", "person")
"""Everyday words whose scores give the step of an archive, so that it depends on the archive and
the encoder alone. With a word that many photos show, a spread of its own would be wider."""

Judgement = Literal["good", "weak", "probably absent", "unknown"]
"""What can be said of a class: at least half of its photos stand out (`good`), some do (`weak`),
hardly any does (`probably absent`), or it cannot be told (`unknown`): there is nothing to compare
them with, or the class is an everyday thing that too many photos show for any to stand out."""


@dataclass(frozen=True)
class RetrievedPhoto:
    """A photo that a class was learnt from.

    Attributes:
        path: Its path or address.
        photo_id: Hash of its content.
        score: Cosine of the photo with the class.
        seeds: Its seed pixels as (y, x), cells of the first phi's grid over the centre crop.
            Empty if the user has taken them away.
        support: The support scores of the seeds.
    """

    path: str
    photo_id: str
    score: float
    seeds: tuple[tuple[int, int], ...]
    support: tuple[float, ...]

    def __post_init__(self) -> None:
        numbers = (self.score, *self.support)
        if not all(-1e30 < number < 1e30 for number in numbers):  # false for NaN too
            raise RecosegError(f"expected finite scores of {self.path!r}, got {numbers}")
        if any(number < 0 for seed in self.seeds for number in seed):
            raise RecosegError(f"expected seeds of 0 or more of {self.path!r}, got {self.seeds}")


@dataclass(frozen=True)
class Correction:
    """The seeds of a photo that the user has set by hand.

    Attributes:
        path: Path or address of the photo.
        photo_id: Hash of its content.
        pixels: The seeds as (x, y), pixels of the whole upright photo; empty if the photo is to
            have none.
    """

    path: str
    photo_id: str
    pixels: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Evidence:
    """What the photos of a class are compared with.

    Attributes:
        photos: Number of photos of the archive whose scores were measured.
        median: Median of their scores for the class.
        step: The spread of the archive; see this module. More than 0.
        seeds_alike: Mean cosine between the seeds of the class in different photos, in [-1, 1]; by
            the first phi.

    Raises:
        RecosegError: A number is not finite or out of range.
    """

    photos: int
    median: float
    step: float
    seeds_alike: float

    def __post_init__(self) -> None:
        numbers = (self.photos, self.median, self.step, self.seeds_alike)
        if not all(-1e30 < number < 1e30 for number in numbers) or not self.step > 0:
            raise RecosegError(f"expected finite numbers and a step above 0, got {numbers}")


@dataclass(frozen=True)
class Verdict:
    """Whether an archive shows a class.

    Attributes:
        judgement: See `Judgement`.
        heights: For each retrieved photo, best first, how many steps its score is above the median
            of all photos; empty if that is unknown.
        stand_out: Number of photos that stand out.
        advice: What to do, as a sentence; empty for good classes.
    """

    judgement: Judgement
    heights: tuple[float, ...]
    stand_out: int
    advice: str

    def height(self, rank: int) -> float | None:
        """How far the photo of a rank, counted from 1, is above the median; None if unknown."""
        return self.heights[rank - 1] if 0 < rank <= len(self.heights) else None


def evidence_ends(scores: Sequence[float], median: float, step: float, least: int) -> int:
    """How many photos of a class stand out, but at least `least`, as far as there are so many.

    All count where fewer than `LEAST_EVIDENCE` stand out. The scores then do not tell where the
    evidence ends: things that many photos show, such as grass, do not stand out in any.

    Args:
        scores: The scores of the retrieved photos, best first.
        median: Median of the scores of all photos for the class.
        step: The spread of the archive; see this module. More than 0.
        least: The smallest number.

    Example:
        >>> evidence_ends([0.5, 0.4, 0.3, 0.1, 0.1], median=0.0, step=0.04, least=1)
        3
    """
    count = sum((score - median) / step >= STANDS_OUT for score in scores)
    return len(scores) if count < LEAST_EVIDENCE else min(len(scores), max(count, least))


def judge(scores: Sequence[float], evidence: Evidence | None, words: Sequence[str] = ()) -> Verdict:
    """Say whether the photos of a class are evidence of it.

    Args:
        scores: The scores of the retrieved photos, best first.
        evidence: What they are compared with; None where it was not measured.
        words: The words of the class. Everyday ones, such as those of `YARDSTICK`, are not called
            absent.

    Example:
        >>> evidence = Evidence(photos=8450, median=0.0, step=0.04, seeds_alike=0.4)
        >>> judge([0.5, 0.4, 0.3, 0.1, 0.1, 0.1, 0.1], evidence).judgement
        'weak'
    """
    if evidence is None or not scores:
        return Verdict("unknown", (), 0, "Nothing was measured to compare the photos with.")
    heights = tuple((score - evidence.median) / evidence.step for score in scores)
    count = sum(height >= STANDS_OUT for height in heights)
    if evidence.photos < LEAST_ARCHIVE:
        advice = f"An archive of {evidence.photos:,} photos is too small to tell; look at them."
        return Verdict("unknown", heights, count, advice)
    if 2 * count >= len(scores):
        return Verdict("good", heights, count, "")
    if count >= LEAST_EVIDENCE:
        advice = (
            f"Only {count:,} of {len(scores):,} photos stand out. Look at its photos first: if "
            "most show it, keep it. Otherwise try other words, an archive with more photos of it, "
            "or a new bank with -k auto, which learns each class from those that stand out (20 at "
            "least) and makes some better and some worse."
        )
        return Verdict("weak", heights, count, advice)
    if any(word.strip().casefold() in YARDSTICK for word in words):
        return Verdict("unknown", heights, count, _EVERYDAY)
    return Verdict("probably absent", heights, count, _ABSENT)


_EVERYDAY = (
    "So many photos show everyday things such as this that none stands out, so the scores do not "
    "tell. Look at the photos."
)
_ABSENT = (
    "Hardly any photo fits better than others do: few photos show it, or so many that none stands "
    "out, as with grass or water. Look at the photos. If they do not show it, try other words or "
    "an archive with photos of it, or leave the class out, since photos without it may be labelled "
    "with it."
)
