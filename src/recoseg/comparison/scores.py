"""The scores of two runs on the same labelled photos, and whether they differ by chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int64

from recoseg.comparison.bootstrap import RESAMPLES, paired_bootstrap
from recoseg.errors import LabelError
from recoseg.evaluation.metrics import class_iou


@dataclass(frozen=True)
class ScoreChange:
    """A measure of both runs; None where a class is in neither truth nor prediction.

    Attributes:
        name: The class, or `mIoU`.
        one: The measure of the one, 0 to 1.
        other: That of the other.
        difference: How much higher the other's is.
        low: Lower end of the 95 % interval of the difference.
        high: Its upper end.
        p_value: How often a difference at least as far from 0 would be seen if there were none.
    """

    name: str
    one: float | None
    other: float | None
    difference: float | None
    low: float | None
    high: float | None
    p_value: float | None


@dataclass(frozen=True)
class PhotoChange:
    """The mIoU of a photo in both runs."""

    name: str
    one: float
    other: float

    @property
    def difference(self) -> float:
        """How much higher the other's is."""
        return self.other - self.one


@dataclass(frozen=True)
class ScoreComparison:
    """Two runs that were scored on the same photos.

    Attributes:
        miou: mIoU of all photos together.
        classes: IoU of each class.
        photos: The photos, those that changed most first.
        left_out: Names of photos that one of the two could not segment.
        resamples: How often the photos were drawn for the intervals.
        seed: Of the random numbers.
    """

    miou: ScoreChange
    classes: tuple[ScoreChange, ...]
    photos: tuple[PhotoChange, ...]
    left_out: tuple[str, ...]
    resamples: int
    seed: int


@dataclass(frozen=True, eq=False)
class Counted:
    """What was counted on each photo by one run.

    Attributes:
        names: Names of the classes.
        photos: Names of the photos.
        counts: Right, true and predicted pixels of each class in each photo; see `class_counts`.
        failed: Names of the photos that could not be segmented.
    """

    names: tuple[str, ...]
    photos: tuple[str, ...]
    counts: Int64[np.ndarray, "n c 3"]
    failed: frozenset[str]


def compare_scores(
    one: Counted, other: Counted, *, resamples: int = RESAMPLES, seed: int = 0
) -> ScoreComparison:
    """Compare two runs on the photos that both have segmented.

    Raises:
        LabelError: The classes differ, or both have no photo with a labelled pixel in common.
    """
    if one.names != other.names:
        raise LabelError(
            "The two were scored in different classes: "
            f"{', '.join(one.names[:8])} and {', '.join(other.names[:8])}. Expected the same "
            "data set."
        )
    places = {name: place for place, name in enumerate(other.photos)}
    both = [
        (place, places[name])
        for place, name in enumerate(one.photos)
        if name in places and name not in one.failed | other.failed
    ]
    counts = [
        run.counts[[pair[number] for pair in both]] for number, run in enumerate((one, other))
    ]
    if not both or not counts[0][..., 1].any():
        raise LabelError(
            "The two have no photo with a labelled pixel in common. Expected runs on the same "
            "photos of the same data set."
        )
    names = [one.photos[place] for place, _ in both]
    found = paired_bootstrap(*counts, resamples=resamples, seed=seed)
    scores = [_scores(part) for part in counts]
    columns = (scores[0], scores[1], found.value, found.low, found.high, found.p_value)
    rows = [
        ScoreChange(name, *(_number(column[at]) for column in columns))
        for at, name in enumerate((*one.names, "mIoU"))
    ]
    kept = set(names)
    return ScoreComparison(
        miou=rows[-1],
        classes=tuple(rows[:-1]),
        photos=_photos(names, counts),
        left_out=tuple(sorted({*one.photos, *other.photos} - kept)),
        resamples=resamples,
        seed=seed,
    )


def _scores(counts: Int64[np.ndarray, "n c 3"]) -> list[float]:
    """IoU of each class and mIoU of all photos together."""
    iou = class_iou(counts.sum(0))
    return [*iou.tolist(), float(np.nanmean(iou))]


def _photos(
    names: Sequence[str], counts: Sequence[Int64[np.ndarray, "n c 3"]]
) -> tuple[PhotoChange, ...]:
    """The mIoU of each photo that has a labelled pixel, those that changed most first."""
    labelled = np.flatnonzero(counts[0][..., 1].any(1)).tolist()
    one, other = ([float(np.nanmean(row)) for row in class_iou(part[labelled])] for part in counts)
    found = [PhotoChange(names[place], one[at], other[at]) for at, place in enumerate(labelled)]
    return tuple(sorted(found, key=lambda photo: (-abs(photo.difference), photo.name)))


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
