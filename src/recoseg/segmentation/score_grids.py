"""From photos to score grids: each backbone runs once, for any number of segmenters."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.encoders.extract import extract
from recoseg.segmentation.batches import equal_sizes
from recoseg.segmentation.branches import Branch
from recoseg.segmentation.input_plan import InputPlan
from recoseg.segmentation.windows import GridMean, window_boxes


class Grid(NamedTuple):
    """Scores of some photos on the grid of one encoder.

    Attributes:
        scores: Scores of each class in each cell.
        stride: Pixels of the encoder's input per cell.
    """

    scores: Float[Tensor, "n c gh gw"]
    stride: int


ScoreGrids = dict[str, Grid]
"""The scores of each branch, by the branch's name."""


def score_grids(
    pixels: UInt8[Tensor, "n 3 h w"], wanted: Sequence[Sequence[Branch]], plan: InputPlan
) -> list[ScoreGrids]:
    """Scores on the grids of whole photos; of large photos the mean over windows.

    Args:
        pixels: Photos of equal size.
        wanted: The branches of each of several segmenters.
        plan: Windows and batches.

    Returns:
        The scores that each segmenter wants. Features are computed once for all branches of equal
        encoders, and scores once for branches of equal keys.
    """
    branches: dict[Hashable, Branch] = {one.key: one for ones in wanted for one in ones}
    if plan.window is None or max(pixels.shape[2:]) <= plan.window:
        found = _score(pixels, branches)
    else:
        found = _score_windows(pixels, branches, plan, plan.window)
    return [{one.name: Grid(found[one.key], one.stride) for one in ones} for ones in wanted]


def _score_windows(
    pixels: UInt8[Tensor, "n 3 h w"],
    branches: dict[Hashable, Branch],
    plan: InputPlan,
    window: int,
) -> dict[Hashable, Float[Tensor, "n c gh gw"]]:
    height, width = pixels.shape[2:]
    cell = math.lcm(*(branch.stride for branch in branches.values()))
    boxes = window_boxes((height, width), window, plan.step, cell)
    crops = [(image, box) for box in boxes for image in range(len(pixels))]
    cut = {
        index: pixels[image, :, box.y0 : box.y1, box.x0 : box.x1]
        for index, (image, box) in enumerate(crops)
    }
    means: dict[Hashable, list[GridMean]] = {}
    for group in equal_sizes(cut):
        for start in range(0, len(group), plan.batch_size):
            part = group[start : start + plan.batch_size]
            scored = _score(torch.stack([cut[index] for index in part]), branches)
            for key, scores in scored.items():
                stride = branches[key].stride
                if key not in means:
                    grid_hw = (-(-height // stride), -(-width // stride))
                    means[key] = [GridMean(scores.shape[1], grid_hw, scores.device) for _ in pixels]
                for place, index in enumerate(part):
                    image, box = crops[index]
                    means[key][image].add(scores[place], box.y0 // stride, box.x0 // stride)
    return {key: torch.stack([mean.mean() for mean in kept]) for key, kept in means.items()}


@torch.inference_mode()
def _score(
    pixels: UInt8[Tensor, "n 3 h w"], branches: dict[Hashable, Branch]
) -> dict[Hashable, Float[Tensor, "n c gh gw"]]:
    encoders = [
        encoder
        for branch in branches.values()
        for encoder in (*branch.helpers, *branch.scored_encoders)
    ]
    scored = {
        key: [encoder.info.key for encoder in branch.scored_encoders]
        for key, branch in branches.items()
    }
    wanted = [one for keys in scored.values() for one in keys]
    features = extract(encoders, pixels, wanted)
    return {
        key: branch.score(*(features[one] for one in scored[key]))
        for key, branch in branches.items()
    }
