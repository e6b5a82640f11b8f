"""From score grids to label maps: up-sample, fuse, refine, and choose the best class."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from recoseg.config import Fusion
from recoseg.labels import Colour, Segmentation, ignore_index
from recoseg.photos.images import to_tensor
from recoseg.photos.load import LoadedPhoto
from recoseg.refinement.refiner import Refiner
from recoseg.segmentation.fusion import FusionRule
from recoseg.segmentation.label_maps import BackgroundRule, label_dtype, label_map, label_strips
from recoseg.segmentation.score_grids import Grid, ScoreGrids
from recoseg.segmentation.upsample import Upsampler

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
    """

    scored: tuple[str, ...]
    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    rule: FusionRule
    constants: Fusion = field(default_factory=Fusion)
    background: BackgroundRule = field(default_factory=BackgroundRule)
    refiner: Refiner | None = None
    keep_scores: bool = False

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
            grids: Scores of the photos.
        """
        fused = [self._fused(photo, grids, place) for place, photo in enumerate(photos)]
        if self.refiner is None:
            return [self._label_strips(one) for one in fused]
        results: dict[int, Segmentation] = {}
        for part in self._refined_together(fused):
            results |= zip(part, self._refine([fused[index] for index in part]), strict=True)
        return [results[index] for index in range(len(photos))]

    def _fused(self, photo: LoadedPhoto, grids: ScoreGrids, place: int) -> _FusedScores:
        assert photo.image is not None
        input_hw = (photo.pixels.shape[1], photo.pixels.shape[2])
        used = []
        for name, grid in grids.items():
            on_grid = self.rule.on_grid.get(name.partition(":")[0])
            if on_grid is not None:
                used.append(Grid(on_grid(grid.scores[place], self.constants), grid.stride))
        return _FusedScores(photo.image, input_hw, used, self.rule)

    def _label_strips(self, fused: _FusedScores) -> Segmentation:
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

    def _refined_together(self, fused: Sequence[_FusedScores]) -> Iterator[list[int]]:
        """Indices of photos of equal size, as many as are refined at a time."""
        sizes: dict[tuple[int, int], list[int]] = {}
        for index, one in enumerate(fused):
            sizes.setdefault(one.output_hw, []).append(index)
        for (height, width), group in sizes.items():
            count = max(1, _MOST_REFINED // (len(self.scored) * height * width))
            for start in range(0, len(group), count):
                yield group[start : start + count]

    def _refine(self, fused: Sequence[_FusedScores]) -> list[Segmentation]:
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


class _FusedScores:
    """Fused scores of one photo, any strip of its rows at a time."""

    def __init__(
        self,
        image: Image.Image,
        input_hw: tuple[int, int],
        grids: Sequence[Grid],
        rule: FusionRule,
    ) -> None:
        self.output_hw = (image.height, image.width)
        self._image = image
        self._rule = rule
        self._maps: list[tuple[Float[Tensor, "c gh gw"], Upsampler]] = []
        for scores, stride in grids:
            grid_hw = (scores.shape[1], scores.shape[2])
            up = Upsampler.build(grid_hw, stride, input_hw, self.output_hw, scores.device)
            self._maps.append((scores, up))

    @property
    def pixels(self) -> UInt8[Tensor, "3 h w"]:
        """The photo itself, on the scores' device."""
        return to_tensor(self._image).to(self._maps[0][0].device)

    def __call__(self, start: int, end: int) -> Float[Tensor, "c strip w"]:
        """The scores of rows `start` to `end` (exclusive)."""
        return self._rule.combine([up.strip(scores, start, end) for scores, up in self._maps])
