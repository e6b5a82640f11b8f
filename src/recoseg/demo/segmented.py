"""What the segmented photos of the demo show, and which of them are on its page."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from recoseg.concepts import ConceptBank
from recoseg.demo.best import edge_fit
from recoseg.demo.standing import standing
from recoseg.drawing.photo_pair import LEAST_SHARE, SmallResult, small_result
from recoseg.segmentation.result import Result

LONG_SIDE = 960
"""Maximum long side of the pictures of the best result, pixels."""

_SHOWN = 24
_SHOWN_EMPTY = 16
_FITTING = (0.08, 0.7)
"""Shares of a photo between which the masks of the best result lie."""


@dataclass
class Segmented:
    """What the segmented photos show.

    Attributes:
        colours: The colour of each class as `#rrggbb`.
        photos: Number of segmented photos.
        found: Number of them in which each class was found.
        shown: Those with the largest shares of classes, each with that share and its edge fit.
        empty: The first of those without any class.
    """

    colours: dict[str, str]
    photos: int = 0
    found: Counter[str] = field(default_factory=Counter)
    shown: list[tuple[float, float, SmallResult]] = field(default_factory=list)
    empty: list[SmallResult] = field(default_factory=list)

    def add(self, name: str, result: Result) -> None:
        """Count a photo, and keep it if it is to be shown."""
        if result.segmentation is None or result.image is None:
            return
        self.photos += 1
        areas = {name: area for name, area in result.areas().items() if area >= LEAST_SHARE}
        self.found.update(areas.keys())
        share = sum(areas.values())
        where = self.shown if areas else self.empty
        full = len(where) == (_SHOWN if areas else _SHOWN_EMPTY)
        if full and (not areas or share <= self.shown[-1][0]):
            return
        small = small_result(result.photo.path, name, result.image, result.segmentation, LONG_SIDE)
        if not areas:
            self.empty.append(small)
            return
        self.shown.append((share, edge_fit(small.image, small.segmentation.labels), small))
        self.shown.sort(key=lambda one: -one[0])
        del self.shown[_SHOWN:]

    def best_first(self, bank: ConceptBank) -> list[SmallResult]:
        """The shown photos: first the best result, then by share of classes.

        The best result has masks of middling size that lie best on the edges of the photo, and only
        classes that are not weak, if there is such a photo.
        """
        weak = {
            concept.name
            for concept in bank.classes
            if standing(concept, self.found[concept.name], self.photos).weak
        }

        def worth(one: tuple[float, float, SmallResult]) -> tuple[bool, bool, float]:
            share, fit, small = one
            certain = not any(item.name in weak for item in small.shares)
            return certain, _FITTING[0] <= share <= _FITTING[1], fit

        best = max(self.shown, key=worth, default=None)
        rest = [one[2] for one in self.shown if one is not best]
        return rest if best is None else [best[2], *rest]
