"""From score grids to label maps: up-sample, fuse, refine, and choose the best class."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int32
from torch import Tensor

from recoseg.config import Fusion
from recoseg.drawing.palette import BACKGROUND_CLASS
from recoseg.labels import Colour, Segmentation, ignore_index, label_dtype
from recoseg.photos.load import LoadedPhoto
from recoseg.photos.refs import Photo
from recoseg.refinement.lposs import LpossSettings
from recoseg.refinement.refiner import Part, Refiner
from recoseg.segmentation.finish import finished
from recoseg.segmentation.fused_scores import FusedScores, fuse_grids
from recoseg.segmentation.fusion import FusionRule
from recoseg.segmentation.instances import InstanceForm
from recoseg.segmentation.label_maps import (
    MAX_STRIP,
    BackgroundRule,
    background_scores,
    label_map,
    label_strips,
    score_strips,
)
from recoseg.segmentation.naming import Naming
from recoseg.segmentation.presence import PresenceRule
from recoseg.segmentation.refined_background import RefinedBackground
from recoseg.segmentation.refined_groups import refined_together
from recoseg.segmentation.sampled import Sampler
from recoseg.segmentation.score_grids import ScoreGrids, features_of
from recoseg.segmentation.scores_within import ScoresWithin
from recoseg.segmentation.specks import SpeckRule
from recoseg.segmentation.unrefined import Unrefined
from recoseg.segmentation.voting import VotedScores, Voting

Scores = FusedScores | VotedScores | ScoresWithin


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
        background_class: Name of the class that background has in label maps, one of `names` or
            a further one; empty where it is ignored. Its score is that of `background_scores`.
        temperature: Fused scores divided by this are logits of the probabilities of classes, which
            confidence and refinement start from.
        instances: What the single things of a class are.
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
    background_class: str = ""
    temperature: float = 1.0
    instances: InstanceForm = "parts"

    @property
    def maps(self) -> int:
        """Number of score maps: one of each class, or of each name."""
        return len(self.scored) if self.naming is None else len(self.naming.class_of_name)

    @property
    def background_names(self) -> tuple[str, ...]:
        """The classes that become background."""
        return tuple(self.scored[index] for index in self.background.classes)

    @property
    def labelled(self) -> tuple[str, ...]:
        """The class of each label in label maps."""
        return tuple(dict.fromkeys((*self.names, *filter(None, [self.background_class]))))

    @property
    def colours(self) -> tuple[Colour, ...]:
        """RGB of each class in label maps."""
        return (*self.palette, BACKGROUND_CLASS)[: len(self.labelled)]

    @property
    def ignored(self) -> int:
        """The label of pixels without a class."""
        return ignore_index(len(self.labelled))

    @property
    def background_label(self) -> int:
        """The label of background."""
        if not self.background_class:
            return self.ignored
        return self.labelled.index(self.background_class)

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
        return self._label(fused, divided, grids)

    @torch.inference_mode()
    def label_within(
        self,
        photo: LoadedPhoto,
        grids: ScoreGrids,
        regions: Int32[Tensor, "h w"] | None,
        rows: slice,
        columns: slice,
    ) -> Segmentation:
        """Label some rows and columns of a photo.

        Args:
            photo: The photo, with its image.
            grids: Its scores.
            regions: Its regions, all pixels of which count for scores; None where none vote.
            rows: The rows.
            columns: The columns.
        """
        within = ScoresWithin(self._scores(photo, grids, 0, regions), rows, columns)
        own = None if regions is None else regions[rows, columns]
        return self._label([within], [own], grids)[0]

    def _label(
        self,
        fused: Sequence[Scores],
        divided: Sequence[Int32[Tensor, "_ _"] | None],
        grids: ScoreGrids,
    ) -> list[Segmentation]:
        labelled = [self._label_strips(one) for one in fused] if self.refiner is None else []
        if self.refiner is not None:
            results: dict[int, Segmentation] = {}
            for part in refined_together([one.output_hw for one in fused], self.maps):
                results |= zip(part, self._refine([fused[index] for index in part]), strict=True)
            labelled = [results[index] for index in range(len(fused))]
        return finished(
            labelled, divided, grids, self.voting, self.specks, self.instances, len(self.names)
        )

    @torch.inference_mode()
    def strips(
        self, photo: LoadedPhoto, grids: ScoreGrids, regions: Int32[Tensor, "h w"] | None
    ) -> Iterator[Float[Tensor, "c _ w"]]:
        """The scores of classes of one photo before refinement, from top to bottom."""
        return self._strips(self._scores(photo, grids, 0, regions))

    def stamp(self, photo: Photo) -> str:
        """A text that changes when what is stored of a photo's regions changes; see `Voting`."""
        return "" if self.voting is None else self.voting.stamp(photo)

    def _regions(
        self, photo: LoadedPhoto, grids: ScoreGrids, place: int
    ) -> Int32[Tensor, "h w"] | None:
        if self.voting is None:
            return None
        input_hw = (photo.pixels.shape[1], photo.pixels.shape[2])
        return self.voting.regions(photo, features_of(grids, place, input_hw))

    def _scores(
        self,
        photo: LoadedPhoto,
        grids: ScoreGrids,
        place: int,
        regions: Int32[Tensor, "h w"] | None,
    ) -> FusedScores | VotedScores:
        fused = fuse_grids(
            photo, grids, place, self.rule, self.constants, self.naming, self.spreading
        )
        if self.voting is None or self.voting.form != "mean":
            return fused
        assert regions is not None
        return VotedScores(fused, regions)

    def _by_class(self, scores: Float[Tensor, "m h w"]) -> Float[Tensor, "c h w"]:
        """Fused scores of classes from those of all maps."""
        if self.naming is None:
            return scores
        return self.naming.best(self.naming.probabilities(scores))

    def _strips(self, fused: Scores) -> Iterator[Float[Tensor, "c _ w"]]:
        """The scores of classes before refinement, strip by strip."""
        return score_strips(
            lambda start, end: self._by_class(fused(start, end)),
            len(self.scored),
            fused.output_hw,
            self._most,
        )

    @property
    def _most(self) -> int:
        """Bound on the scores of classes in a strip."""
        return MAX_STRIP * len(self.scored) // self.maps

    def _label_strips(self, fused: Scores) -> Segmentation:
        always = self.background.classes
        present = self.presence.strong(self._strips(fused), always)
        present = self.presence.large(self._strips(fused), always, present)
        sampler = self._sampler(fused.output_hw)

        def strip(start: int, end: int) -> Tensor:
            scores = self._by_class(fused(start, end))
            sampler.see(start, scores)
            return scores

        labels, kept = label_strips(
            strip,
            len(self.scored),
            fused.output_hw,
            self.background,
            ignored=self.background_label,
            keep_scores=self.keep_scores,
            kept=present,
            unclear=self.ignored,
            max_elements=self._most,
        )
        return self._segmentation(labels, kept, sampler)

    def _segmentation(
        self, labels: np.ndarray, kept: np.ndarray | None, sampler: Sampler
    ) -> Segmentation:
        """A label map, with scores if those of the scored classes (c, h, w) were kept."""
        own = None if kept is None else self._of_labels(kept)
        return Segmentation(labels, self.labelled, self.colours, own, sampler.found())

    def _of_labels(self, scores: Float[np.ndarray, "m _ w"]) -> Float[np.ndarray, "c _ w"]:
        """The scores of the classes in label maps, from those of the scored classes."""
        if not self.background_class:
            return scores[: len(self.names)]
        place = self.background_label
        return background_scores(scores, len(self.labelled), place, self.background)

    def _sampler(self, output_hw: tuple[int, int], *, of_maps: bool = False) -> Sampler:
        """What takes the probabilities of classes out of their scores, or those of all maps."""

        def probabilities(scores: Tensor) -> np.ndarray:
            scores = (self._by_class(scores) if of_maps else scores).float()
            if self.background_class:
                scores = torch.from_numpy(self._of_labels(scores.cpu().numpy()))
            if self.naming is None:
                scores = (scores / self.temperature).softmax(0)
            return scores[: len(self.labelled)].clamp(min=0).cpu().numpy()

        return Sampler(output_hw, len(self.labelled), probabilities)

    @property
    def _refined_background(self) -> RefinedBackground:
        return RefinedBackground(self.background, len(self.scored), self.naming is not None)

    def _refine(self, fused: Sequence[Scores]) -> list[Segmentation]:
        """Refine photos of equal size, together or, where they are large, each part by part."""
        assert self.refiner is not None
        height, width = fused[0].output_hw
        if self.refiner.splits(self.maps + 1, height, width):
            return [self._refine_parts(one) for one in fused]
        scores = torch.stack([one(0, height) for one in fused])
        images = torch.stack([one.pixels() for one in fused])
        refined = self.refiner(images, self._refined_background.with_level(scores))
        found = []
        for before, after in zip(scores, refined, strict=True):
            classes = self._by_class(before)
            own = self._unrefined((height, width), [classes])
            whole = Part(slice(0, height), slice(0, width), after)
            own.see(whole.rows, whole.columns, classes)
            sampler = self._sampler((height, width))
            sampler.see(0, classes)
            found.append(self._refined(own, sampler, lambda: iter([whole])))  # noqa: B023
        return found

    def _refine_parts(self, fused: Scores) -> Segmentation:
        """Refine a large photo; twice where classes are left out for their areas."""
        assert self.refiner is not None
        refiner, hw = self.refiner, fused.output_hw
        own, sampler = self._unrefined(hw, self._strips(fused)), self._sampler(hw, of_maps=True)

        def read(rows: slice, columns: slice) -> tuple[Tensor, Tensor]:
            scores = fused(rows.start, rows.stop, columns)
            sampler.see(rows.start, scores, columns)
            if own.looks:
                own.see(rows, columns, self._by_class(scores))
            return fused.pixels(rows, columns), self._refined_background.with_level(scores[None])[0]

        return self._refined(own, sampler, lambda: refiner.parts(read, self.maps + 1, *hw))

    def _refined(
        self, own: Unrefined, sampler: Sampler, parts: Callable[[], Iterator[Part]]
    ) -> Segmentation:
        """Label a photo by its refined scores, and by what those before decide."""

        def by_class() -> Iterator[Tensor]:
            return (find(part.scores) for part in parts())

        find = (lambda scores: scores) if self.naming is None else self.naming.best
        background = self._refined_background.rule
        kept = self._refined_background.kept(own.kept)
        kept = self.presence.large(by_class(), background.classes, kept)
        labels = np.empty(own.output_hw, label_dtype(self.ignored))
        for part in parts():
            found = label_map(find(part.scores), background, self.background_label, kept)
            labels[part.rows, part.columns] = found.cpu().numpy()
        if own.unclear is not None and (kept is None or bool(kept.any())):
            labels[own.unclear] = self.ignored
        return self._segmentation(labels, own.scores, sampler)

    def _unrefined(self, output_hw: tuple[int, int], strips: Iterable[Tensor]) -> Unrefined:
        maps = len(self.scored if self.background_class else self.names)
        return Unrefined(
            output_hw,
            maps if self.keep_scores else 0,
            self.background.ambiguity,
            self.presence.strong(strips, self.background.classes),
        )
