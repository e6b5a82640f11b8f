"""Fused scores at the pixels of a photo, any strip of rows at a time."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor

from recoseg.config import Fusion
from recoseg.photos.images import to_tensor
from recoseg.photos.load import LoadedPhoto, Part
from recoseg.refinement.lposs import LpossSettings, lposs, patch_centres
from recoseg.segmentation.fusion import FusionRule
from recoseg.segmentation.naming import Naming
from recoseg.segmentation.score_grids import Grid, ScoreGrids, features_of, whole_grid
from recoseg.segmentation.upsample import ALL, Upsampler


class FusedScores:
    """Fused scores of one photo, or of a part of it.

    Args:
        image: The photo, or the part.
        input_hw: Size of the encoders' input, pixels.
        grids: Scores (c, gh, gw) of each branch that is used.
        rule: How they become one after up-sampling.
        part: Where the part lies; None for the whole photo.
    """

    def __init__(
        self,
        image: Image.Image,
        input_hw: tuple[int, int],
        grids: Sequence[Grid],
        rule: FusionRule,
        part: Part | None = None,
    ) -> None:
        self.output_hw = (image.height, image.width)
        self._image = image
        self._rule = rule
        self._maps: list[tuple[Float[Tensor, "c gh gw"], Upsampler]] = []
        for scores, stride, windows, _ in grids:
            grid_hw = (scores.shape[1], scores.shape[2])
            whole_hw = self.output_hw if part is None else part.size
            up = Upsampler.build(grid_hw, stride, input_hw, whole_hw, scores.device, windows)
            if part is not None:
                up = Upsampler(up.rows[part.rows], up.columns[part.columns])
            self._maps.append((scores, up))

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self._maps[0][0])

    def pixels(self, rows: slice = ALL, columns: slice = ALL) -> UInt8[Tensor, "3 strip w"]:
        """The photo itself, or a part of it, on the scores' device."""
        height, width = self.output_hw
        (top, bottom, _), (left, right, _) = rows.indices(height), columns.indices(width)
        image = self._image
        if (top, bottom, left, right) != (0, height, 0, width):
            image = image.crop((left, top, right, bottom))
        return to_tensor(image).to(self._maps[0][0].device)

    def __call__(self, start: int, end: int, columns: slice = ALL) -> Float[Tensor, "c strip w"]:
        """The scores of rows `start` to `end` (exclusive), of all columns or some."""
        parts = [up.strip(scores, start, end, columns) for scores, up in self._maps]
        return self._rule.combine(parts)


def fuse_grids(
    photo: LoadedPhoto,
    grids: ScoreGrids,
    place: int,
    rule: FusionRule,
    constants: Fusion,
    naming: Naming | None = None,
    spreading: LpossSettings | None = None,
) -> FusedScores:
    """The fused scores of one of the photos that grids were computed for.

    Args:
        photo: The photo, with its image.
        grids: The scores of the branches, and the features of phi if scores are spread.
        place: Index of the photo in the grids.
        rule: How the scores of the branches become one.
        constants: Constants of the fusion.
        naming: The names of the classes, if the fused scores are those of names.
        spreading: How the scores are spread between alike patches, if they are.
    """
    assert photo.image is not None
    input_hw = (photo.pixels.shape[1], photo.pixels.shape[2])
    used = []
    for name, grid in grids.items():
        kind = name.partition(":")[0]
        on_grid = rule.on_grid.get(kind)
        if on_grid is not None:
            scores = on_grid(grid.scores[place], constants)
            if naming is not None and kind != "text":
                scores = naming.per_name(scores)
            used.append(grid._replace(scores=scores))
    if spreading is not None:
        first = features_of(grids, place, input_hw)[0]
        used = [whole_grid(one, input_hw) for one in used]
        used = [spread_grids(used, first, rule, spreading)]
    return FusedScores(photo.image, input_hw, used, rule, photo.part)


def spread_grids(
    grids: Sequence[Grid], features: Grid, rule: FusionRule, settings: LpossSettings
) -> Grid:
    """Fuse the scores of branches on the grid of phi, and spread them between alike patches.

    Args:
        grids: Scores (c, gh, gw) of each branch that is used, on whole grids. Those on other grids
            than phi's are brought to it bilinearly.
        features: Features (C, gh, gw) of phi.
        rule: How the scores become one. It leaves a single part as it is.
        settings: Parameters of LPOSS.

    Returns:
        One grid of scores, on the scale of the fused ones: sums, times 1 - alpha.
    """
    size = (features.scores.shape[1], features.scores.shape[2])
    parts = [
        scores
        if tuple(scores.shape[1:]) == size
        else F.interpolate(scores[None], size, mode="bilinear", align_corners=False)[0]
        for scores, *_ in grids
    ]
    fused = rule.combine(parts)
    centres = patch_centres(size, features.stride).to(fused.device)
    refined = lposs(fused.flatten(1).T, features.scores.flatten(1).T, centres, settings)
    maps: Tensor = (1 - settings.alpha) * refined.T.view(len(fused), *size)
    return Grid(maps.contiguous(), features.stride)
