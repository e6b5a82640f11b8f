"""From score grids to label maps: up-sample, fuse, refine, and choose the best class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Int32
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
from recoseg.segmentation.label_maps import BackgroundRule, label_dtype, label_map, label_strips
from recoseg.segmentation.score_grids import Grid, ScoreGrids
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
        if self.voting is None or self.voting.form != "mode":
            return labelled
        return [
            replace(one, labels=vote_labels(one.labels, regions))
            for one, regions in zip(labelled, divided, strict=True)
            if regions is not None
        ]

    def stamp(self, photo: Photo) -> str:
        """A text that changes when what is stored of a photo's regions changes; see `Voting`."""
        return "" if self.voting is None else self.voting.stamp(photo)

    def _regions(
        self, photo: LoadedPhoto, grids: ScoreGrids, place: int
    ) -> Int32[Tensor, "h w"] | None:
        if self.voting is None:
            return None
        return self.voting.regions(photo, _features(grids, place))

    def _scores(
        self,
        photo: LoadedPhoto,
        grids: ScoreGrids,
        place: int,
        regions: Int32[Tensor, "h w"] | None,
    ) -> Scores:
        assert photo.image is not None
        input_hw = (photo.pixels.shape[1], photo.pixels.shape[2])
        used = []
        for name, grid in grids.items():
            on_grid = self.rule.on_grid.get(name.partition(":")[0])
            if on_grid is not None:
                used.append(Grid(on_grid(grid.scores[place], self.constants), grid.stride))
        if self.spreading is not None:
            first = _features(grids, place)[0]
            used = [spread_grids(used, first, self.rule, self.spreading)]
        fused = FusedScores(photo.image, input_hw, used, self.rule)
        if self.voting is None or self.voting.form != "mean":
            return fused
        assert regions is not None
        return VotedScores(fused, regions)

    def _label_strips(self, fused: Scores) -> Segmentation:
        labels, kept = label_strips(
            fused,
            len(self.scored),
            fused.output_hw,
            self.background,
            ignored=self.ignored,
            keep_scores=self.keep_scores,
        )
        own = None if kept is None else kept[: len(self.names)]
        return Segmentation(labels, self.names, self.palette, own)

    def _refined_together(self, fused: Sequence[Scores]) -> Iterator[list[int]]:
        """Indices of photos of equal size, as many as are refined at a time."""
        sizes: dict[tuple[int, int], list[int]] = {}
        for index, one in enumerate(fused):
            sizes.setdefault(one.output_hw, []).append(index)
        for (height, width), group in sizes.items():
            count = max(1, _MOST_REFINED // (len(self.scored) * height * width))
            for start in range(0, len(group), count):
                yield group[start : start + count]

    def _refine(self, fused: Sequence[Scores]) -> list[Segmentation]:
        """Refine photos of equal size.

        A background threshold is added as a class whose score is the threshold everywhere. This
        makes the same decision as without refinement, and the edges of background are refined.
        """
        assert self.refiner is not None
        height, width = fused[0].output_hw
        scores = torch.stack([one(0, height) for one in fused])
        named = len(self.names)
        own = scores[:, :named].half().cpu().numpy() if self.keep_scores else None
        background = self.background
        if background.threshold is not None:
            level = scores.new_full((len(scores), 1, height, width), background.threshold)
            scores = torch.cat([scores, level], dim=1)
            background = BackgroundRule(classes=(*background.classes, len(self.scored)))
        images = torch.stack([one.pixels for one in fused])
        refined = self.refiner(images, scores)
        dtype = label_dtype(self.ignored)
        return [
            Segmentation(
                label_map(photo, background, self.ignored).cpu().numpy().astype(dtype),
                self.names,
                self.palette,
                None if own is None else own[place],
            )
            for place, photo in enumerate(refined)
        ]


def _features(grids: ScoreGrids, place: int) -> list[Grid]:
    """The features of each phi for one photo, if they were asked for."""
    return [
        Grid(grid.scores[place], grid.stride)
        for name, grid in grids.items()
        if name.partition(":")[0] == FEATURES
    ]
