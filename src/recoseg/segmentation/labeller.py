"""From score grids to label maps: up-sample, fuse, refine, and choose the best class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float, Int32
from torch import Tensor

from recoseg.config import Fusion
from recoseg.labels import Colour, Segmentation, ignore_index
from recoseg.photos.load import LoadedPhoto
from recoseg.photos.refs import Photo
from recoseg.refinement.lposs import LpossSettings
from recoseg.refinement.refiner import Refiner
from recoseg.segmentation.branches import FEATURES
from recoseg.segmentation.fused_scores import FusedScores, spread_grids
from recoseg.segmentation.fusion import FusionRule
from recoseg.segmentation.label_maps import (
    MAX_STRIP,
    BackgroundRule,
    label_dtype,
    label_map,
    label_strips,
    score_strips,
)
from recoseg.segmentation.naming import Naming
from recoseg.segmentation.presence import PresenceRule, is_ambiguous, leave_out
from recoseg.segmentation.score_grids import Grid, ScoreGrids, whole_grid
from recoseg.segmentation.specks import SpeckRule
from recoseg.segmentation.voting import VotedScores, Voting, vote_labels

Scores = FusedScores | VotedScores
_MOST_REFINED = 64_000_000
"""Maximum of photos x classes x pixels refined together; a single photo may have more."""


@dataclass(frozen=True)
class Labeller:
    """Everything between the score grids and the label maps.

    Attributes:
        scored: Names of the classes that have scores: those with labels, then context classes
            that become background.
        names: Names of the classes with labels.
        palette: RGB of each class with a label.
        rule: How the scores of the branches become one.
        constants: Constants of the fusion.
        background: Which pixels become background.
        refiner: Refines the fused scores; None for no refinement.
        keep_scores: Whether results hold their fused scores, as they were before refinement.
        spreading: How fused scores are spread between alike patches of the first phi before they
            are up-sampled; None for not at all.
        voting: Which regions vote, and how; None for no vote.
        naming: The names of all scored classes, where scores become probabilities by name; the
            scores of branches of the kind `text` are then those of names. None for scores by class.
        presence: Which classes are left out of a photo.
        specks: Which parts of a label map are too small.
    """

    scored: tuple[str, ...]
    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    rule: FusionRule
    constants: Fusion = field(default_factory=Fusion)
    background: BackgroundRule = field(default_factory=BackgroundRule)
    refiner: Refiner | None = None
    keep_scores: bool = False
    spreading: LpossSettings | None = None
    voting: Voting | None = None
    naming: Naming | None = None
    presence: PresenceRule = field(default_factory=PresenceRule)
    specks: SpeckRule = field(default_factory=SpeckRule)

    @property
    def maps(self) -> int:
        """Number of score maps: one of each class, or of each name."""
        return len(self.scored) if self.naming is None else len(self.naming.class_of_name)

    @property
    def background_names(self) -> tuple[str, ...]:
        """The classes that become background."""
        return tuple(self.scored[index] for index in self.background.classes)

    @property
    def ignored(self) -> int:
        """The label of background."""
        return ignore_index(len(self.names))

    @torch.inference_mode()
    def label(self, photos: Sequence[LoadedPhoto], grids: ScoreGrids) -> list[Segmentation]:
        """Label photos.

        Args:
            photos: The photos, with their images.
            grids: Scores of the photos, and the features of phi where these are needed.

        Raises:
            BadImageError: A photo has no regions to vote.
        """
        divided = [self._regions(photo, grids, place) for place, photo in enumerate(photos)]
        fused: list[Scores] = [
            self._scores(photo, grids, place, regions)
            for place, (photo, regions) in enumerate(zip(photos, divided, strict=True))
        ]
        labelled = [self._label_strips(one) for one in fused] if self.refiner is None else []
        if self.refiner is not None:
            results: dict[int, Segmentation] = {}
            for part in self._refined_together(fused):
                results |= zip(part, self._refine([fused[index] for index in part]), strict=True)
            labelled = [results[index] for index in range(len(photos))]
        if self.voting is not None and self.voting.form == "mode":
            labelled = [
                replace(one, labels=vote_labels(one.labels, regions))
                for one, regions in zip(labelled, divided, strict=True)
                if regions is not None
            ]
        if self.specks.is_idle:
            return labelled
        return [replace(one, labels=self.specks.clean(one.labels)) for one in labelled]

    def stamp(self, photo: Photo) -> str:
        """A text that changes when what is stored of a photo's regions changes; see `Voting`."""
        return "" if self.voting is None else self.voting.stamp(photo)

    def _regions(
        self, photo: LoadedPhoto, grids: ScoreGrids, place: int
    ) -> Int32[Tensor, "h w"] | None:
        if self.voting is None:
            return None
        return self.voting.regions(photo, _features(grids, place, _input_hw(photo)))

    def _scores(
        self,
        photo: LoadedPhoto,
        grids: ScoreGrids,
        place: int,
        regions: Int32[Tensor, "h w"] | None,
    ) -> Scores:
        assert photo.image is not None
        input_hw = _input_hw(photo)
        used = []
        for name, grid in grids.items():
            kind = name.partition(":")[0]
            on_grid = self.rule.on_grid.get(kind)
            if on_grid is not None:
                scores = on_grid(grid.scores[place], self.constants)
                if self.naming is not None and kind != "text":
                    scores = self.naming.per_name(scores)
                used.append(grid._replace(scores=scores))
        if self.spreading is not None:
            first = _features(grids, place, input_hw)[0]
            used = [whole_grid(one, input_hw) for one in used]
            used = [spread_grids(used, first, self.rule, self.spreading)]
        fused = FusedScores(photo.image, input_hw, used, self.rule)
        if self.voting is None or self.voting.form != "mean":
            return fused
        assert regions is not None
        return VotedScores(fused, regions)

    def _by_class(self, scores: Float[Tensor, "m h w"]) -> Float[Tensor, "c h w"]:
        """Fused scores of classes from those of all maps."""
        if self.naming is None:
            return scores
        return self.naming.best(self.naming.probabilities(scores))

    def _label_strips(self, fused: Scores) -> Segmentation:
        def strip(start: int, end: int) -> Tensor:
            return self._by_class(fused(start, end))

        def strips() -> Iterator[Tensor]:
            return score_strips(strip, len(self.scored), fused.output_hw, most)

        most = MAX_STRIP * len(self.scored) // self.maps
        always = self.background.classes
        present = self.presence.large(strips(), always, self.presence.strong(strips(), always))
        labels, kept = label_strips(
            strip,
            len(self.scored),
            fused.output_hw,
            self.background,
            ignored=self.ignored,
            keep_scores=self.keep_scores,
            kept=present,
            max_elements=most,
        )
        own = None if kept is None else kept[: len(self.names)]
        return Segmentation(labels, self.names, self.palette, own)

    def _refined_together(self, fused: Sequence[Scores]) -> Iterator[list[int]]:
        """Indices of photos of equal size, as many as are refined at a time."""
        sizes: dict[tuple[int, int], list[int]] = {}
        for index, one in enumerate(fused):
            sizes.setdefault(one.output_hw, []).append(index)
        for (height, width), group in sizes.items():
            count = max(1, _MOST_REFINED // (self.maps * height * width))
            for start in range(0, len(group), count):
                yield group[start : start + count]

    def _refine(self, fused: Sequence[Scores]) -> list[Segmentation]:
        """Refine photos of equal size.

        Where scores are those of classes, a background threshold is added as a class whose score is
        the threshold everywhere. This makes the same decision as without refinement, and the edges
        of background are refined. Names are refined as probabilities, on which a threshold acts
        afterwards. Which classes are strong enough, and which pixels are ambiguous, is decided by
        the scores before refinement.
        """
        assert self.refiner is not None
        height, width = fused[0].output_hw
        scores = torch.stack([one(0, height) for one in fused])
        background = replace(self.background, ambiguity=None)
        given = scores
        if background.threshold is not None and self.naming is None:
            level = scores.new_full((len(scores), 1, height, width), background.threshold)
            given = torch.cat([scores, level], dim=1)
            background = BackgroundRule(classes=(*background.classes, len(self.scored)))
        images = torch.stack([one.pixels for one in fused])
        refined = self.refiner(images, given)
        return [
            self._refined(before, after, background)
            for before, after in zip(scores, refined, strict=True)
        ]

    def _refined(
        self,
        before: Float[Tensor, "m h w"],
        after: Float[Tensor, "_ h w"],
        background: BackgroundRule,
    ) -> Segmentation:
        """Label a photo by its refined scores, given those before."""
        fused = self._by_class(before)
        named = fused[: len(self.names)]
        found = after if self.naming is None else self.naming.best(after)
        kept = self.presence.strong([fused], self.background.classes)
        ambiguity = self.background.ambiguity
        is_unclear = None if ambiguity is None else is_ambiguous(leave_out(fused, kept), ambiguity)
        if kept is not None and len(found) > len(kept):  # the level of the threshold
            kept = torch.cat([kept, kept.new_ones(1)])
        kept = self.presence.large([found], background.classes, kept)
        labels = label_map(found, background, self.ignored, kept)
        if is_unclear is not None:
            labels = torch.where(is_unclear, self.ignored, labels)
        return Segmentation(
            labels.cpu().numpy().astype(label_dtype(self.ignored)),
            self.names,
            self.palette,
            named.half().cpu().numpy() if self.keep_scores else None,
        )


def _input_hw(photo: LoadedPhoto) -> tuple[int, int]:
    return (photo.pixels.shape[1], photo.pixels.shape[2])


def _features(grids: ScoreGrids, place: int, input_hw: tuple[int, int]) -> list[Grid]:
    """The features of each phi for one photo on whole grids, if they were asked for."""
    return [
        whole_grid(grid._replace(scores=grid.scores[place]), input_hw)
        for name, grid in grids.items()
        if name.partition(":")[0] == FEATURES
    ]
