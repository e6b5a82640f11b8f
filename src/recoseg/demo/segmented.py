"""What the segmented photos of the demo show, and which of them is shown first."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from PIL import Image

from recoseg.concepts import ConceptBank
from recoseg.demo.best import edge_fit
from recoseg.demo.standing import standing
from recoseg.drawing.demo_page import Hero, Share
from recoseg.drawing.palette import hex_colour
from recoseg.drawing.photo_pair import shares_of, shrunk, with_masks
from recoseg.drawing.report import Report
from recoseg.labels import Segmentation
from recoseg.segmentation.result import Result

LONG_SIDE = 960
"""Maximum long side of the pictures of the best result, pixels."""

_CANDIDATES = 24
_LETTERS = 1 / 26
_FITTING = (0.08, 0.7)
"""Shares of a photo between which the masks of the best result lie."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A segmented photo that may be shown first, made small.

    Attributes:
        name: Name of its outputs.
        image: The photo, RGB.
        segmentation: Its segmentation, of the same size.
        classes: Names and shares of the classes that the whole photo shows, largest first.
    """

    name: str
    image: Image.Image
    segmentation: Segmentation
    classes: dict[str, float]

    @property
    def share(self) -> float:
        """The share of the photo that has a class."""
        return sum(self.classes.values())

    def draw(self, report: Report) -> Hero:
        """The photo as the page shows it, its pictures in the report."""
        found = self.segmentation
        colours = dict(zip(found.names, map(hex_colour, found.palette), strict=True))
        masks = with_masks(self.image, found, _LETTERS)
        return Hero(
            self.name,
            report.keep(self.image),
            report.keep(masks),
            *self.image.size,
            tuple(Share(name, colours[name], share) for name, share in self.classes.items()),
        )


@dataclass
class Segmented:
    """What the segmented photos show.

    Attributes:
        colours: The colour of each class as `#rrggbb`.
        photos: Number of segmented photos.
        found: Number of them in which each class was found.
        candidates: Those with the largest shares of classes.
    """

    colours: dict[str, str]
    photos: int = 0
    found: Counter[str] = field(default_factory=Counter)
    candidates: list[Candidate] = field(default_factory=list)

    def add(self, name: str, result: Result) -> None:
        """Count a photo, and keep it if it may be shown first."""
        if result.segmentation is None or result.image is None:
            return
        self.photos += 1
        found = result.segmentation
        classes = {found.names[label]: share for label, share in shares_of(found)}
        self.found.update(classes.keys())
        share = sum(classes.values())
        full = len(self.candidates) == _CANDIDATES
        if not classes or (full and share <= self.candidates[-1].share):
            return
        self.candidates.append(Candidate(name, *shrunk(result.image, found, LONG_SIDE), classes))
        self.candidates.sort(key=lambda one: -one.share)
        del self.candidates[_CANDIDATES:]

    def best(self, bank: ConceptBank) -> Candidate | None:
        """The best result; None if no class was found in any photo.

        It has masks of middling size that lie best on the edges of the photo, and only classes that
        are not doubtful, if there is such a photo.
        """
        doubtful = {
            concept.name
            for concept in bank.classes
            if standing(concept, self.found[concept.name], self.photos).judgement
            in ("weak", "probably absent")
        }

        def worth(one: Candidate) -> tuple[bool, bool, float]:
            fit = edge_fit(one.image, one.segmentation.labels)
            return (
                not doubtful.intersection(one.classes),
                _FITTING[0] <= one.share <= _FITTING[1],
                fit,
            )

        return max(self.candidates, key=worth, default=None)
