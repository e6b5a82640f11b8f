"""From photos to score grids: each backbone runs once, for any number of segmenters."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.decoders.instances import Instances
from recoseg.encoders.extract import extract
from recoseg.regions.axes import cell_matrix
from recoseg.segmentation.branches import FEATURES, Branch
from recoseg.segmentation.input_plan import InputPlan
from recoseg.segmentation.kept_windows import KeptPart, WindowScores
from recoseg.segmentation.windows import Windows


class Grid(NamedTuple):
    """Scores of some photos on the grid of one encoder.

    Attributes:
        scores: Scores of each class in each cell; the grids of windows lie side by side.
        stride: Pixels of the encoder's input per cell; 0 where the whole input is one cell.
        windows: The windows; by default one, the whole input.
        instances: The instances in each photo, where an encoder finds such in whole photos.
    """

    scores: Float[Tensor, "*n c gh gw"]
    stride: int
    windows: Windows = Windows()
    instances: Sequence[Instances] = ()


ScoreGrids = dict[str, Grid]
"""The scores of each branch, by the branch's name."""


@runtime_checkable
class FindsInstances(Protocol):
    """A dense encoder that also finds instances in photos, in the same pass."""

    def find(
        self, images: UInt8[Tensor, "n 3 h w"]
    ) -> tuple[Float[Tensor, "n c gh gw"], Sequence[Instances]]:
        """The features of photos, and the instances in each."""


class _Scored(NamedTuple):
    scores: Float[Tensor, "n c gh gw"]
    instances: Sequence[Instances] = ()


def score_grids(
    pixels: UInt8[Tensor, "n 3 h w"],
    wanted: Sequence[Sequence[Branch]],
    plan: InputPlan,
    windows: Windows | None = None,
    kept: KeptPart | None = None,
) -> list[ScoreGrids]:
    """Scores on the grids of whole photos, or of the windows over them.

    Args:
        pixels: Photos of equal size.
        wanted: The branches of each of several segmenters.
        plan: Windows and batches.
        windows: The windows over the photos; by default those of the plan.
        kept: Windows of a single photo that have been scored by the same branches before, and
            gets those that are scored now; None for none.

    Returns:
        The scores that each segmenter wants. Features are computed once for all branches of equal
        encoders, and scores once for branches of equal keys.
    """
    branches: dict[Hashable, Branch] = {one.key: one for ones in wanted for one in ones}
    if windows is None:
        windows = plan.windows((pixels.shape[2], pixels.shape[3]))
    if windows.are_one:
        found = _score(pixels, branches)
    else:
        parts = {key: one for key, one in branches.items() if one.stride}
        whole = {key: one for key, one in branches.items() if not one.stride}
        found = _score_windows(pixels, parts, windows, plan.batch_size, kept)
        found |= _score(pixels, whole)
    return [
        {
            one.name: Grid(
                found[one.key].scores,
                one.stride,
                windows if one.stride else Windows(),
                found[one.key].instances,
            )
            for one in ones
        }
        for ones in wanted
    ]


def whole_grid(grid: Grid, input_hw: tuple[int, int]) -> Grid:
    """Scores or features on one grid over the whole input: of windows, their mean in each cell.

    Args:
        grid: Scores or features of one photo.
        input_hw: Size of the encoders' input, pixels.
    """
    if grid.windows.are_one:
        return grid
    sides = zip(
        grid.scores.shape[1:], input_hw, (grid.windows.rows, grid.windows.columns), strict=True
    )
    rows, columns = (
        cell_matrix(cells // len(starts), grid.stride, pixels, starts).to(grid.scores.device)
        for cells, pixels, starts in sides
    )
    return Grid(torch.matmul(torch.matmul(rows, grid.scores), columns.T), grid.stride)


def _score_windows(
    pixels: UInt8[Tensor, "n 3 h w"],
    branches: dict[Hashable, Branch],
    windows: Windows,
    batch_size: int,
    kept: KeptPart | None,
) -> dict[Hashable, _Scored]:
    """Scores of all windows, laid side by side for each photo."""
    crops = windows.cut(pixels)
    found: dict[Hashable, Tensor] = {}

    def place(number: int, scores: WindowScores) -> None:
        for key, one in scores.items():
            if key not in found:
                found[key] = one.new_empty(len(crops), *one.shape)
            found[key][number] = one

    places = [(top, left) for top in windows.rows for left in windows.columns]
    pending = []
    for number in range(len(crops)):
        known = None if kept is None else kept.get(places[number])
        if known is None:
            pending.append(number)
        else:
            place(number, known)
    for start in range(0, len(pending), batch_size):
        numbers = pending[start : start + batch_size]
        scored = _score(torch.stack([crops[number] for number in numbers]), branches)
        for at, number in enumerate(numbers):
            own = {key: scores[at] for key, (scores, _) in scored.items()}
            place(number, own)
            if kept is not None:
                kept.keep(places[number], own)
    counts = (len(pixels), len(windows.rows), len(windows.columns))
    return {key: _Scored(_side_by_side(scores, counts)) for key, scores in found.items()}


def _side_by_side(
    scores: Float[Tensor, "windows c gh gw"], counts: tuple[int, int, int]
) -> Float[Tensor, "n c all_rows all_columns"]:
    """Lay the grids of windows side by side; `counts` are photos, rows and columns of windows."""
    photos, rows, columns = counts
    _, classes, height, width = scores.shape
    apart = scores.view(photos, rows, columns, classes, height, width)
    return apart.permute(0, 3, 1, 4, 2, 5).reshape(photos, classes, rows * height, columns * width)


@torch.inference_mode()
def _score(
    pixels: UInt8[Tensor, "n 3 h w"], branches: dict[Hashable, Branch]
) -> dict[Hashable, _Scored]:
    encoders = [
        encoder
        for branch in branches.values()
        for encoder in (*branch.helpers, *branch.scored_encoders)
    ]
    scored = {
        key: [encoder.info.key for encoder in branch.scored_encoders]
        for key, branch in branches.items()
    }
    finders = {one.info.key: one for one in encoders if isinstance(one, FindsInstances)}
    found = {key: one.find(pixels) for key, one in finders.items()}
    wanted = [one for keys in scored.values() for one in keys]
    others = [one for one in encoders if one.info.key not in found]
    features = extract(others, pixels, wanted) | {key: maps for key, (maps, _) in found.items()}
    return {
        key: _Scored(
            branch.score(*(features[one] for one in scored[key])),
            [things for one in scored[key] if one in found for things in found[one][1]],
        )
        for key, branch in branches.items()
    }


def features_of(grids: ScoreGrids, place: int, input_hw: tuple[int, int]) -> list[Grid]:
    """The features of each phi for one photo on whole grids, if they were asked for."""
    return [
        whole_grid(grid._replace(scores=grid.scores[place]), input_hw)
        for name, grid in grids.items()
        if name.partition(":")[0] == FEATURES
    ]
