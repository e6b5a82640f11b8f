"""Residual attention of ResCLIP: the last layer's attention mixed with that of middle layers.

Source: Yang et al., ResCLIP, CVPR 2025. `residual` mixes NACLIP's attention with the mean
attention of the blocks 6 to 9. The second part of the method takes labels from a first pass
(`segment`), which needs texts, and lets patches of equal label attend to each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from recoseg.encoders.attention.forms import GAUSSIAN_STD, gaussian_window
from recoseg.encoders.attention.positions import Positions, by_size
from recoseg.encoders.attention.tower import (
    Grid,
    attend,
    block_of,
    depth,
    enter,
    heads,
    project,
    run,
    similarity,
    to_map,
)
from recoseg.errors import RecosegError

MIDDLE = range(5, 9)
"""The blocks whose attention is mixed in, counted from 0."""

_KERNEL = 31


@dataclass(frozen=True)
class Mixing:
    """How much of another attention is mixed in: scale * ((1 - share) * own + share * other).

    Attributes:
        scale: Factor of the sum; rows add up to it.
        share: Weight of the other attention, 0 to 1.
    """

    scale: float
    share: float

    def __call__(self, own: Tensor, other: Tensor) -> Tensor:
        """Mix two attentions of equal shape."""
        return self.scale * ((1 - self.share) * own + self.share * other)


MIDDLE_MIXING = Mixing(2.0, 0.3)
"""The mixing with middle blocks that the authors use for most data sets."""
LABEL_MIXING = Mixing(2.1, 0.6)
"""The mixing with labels of the authors' settings for PASCAL VOC's 20 classes and Cityscapes."""


def residual(
    visual: nn.Module,
    inputs: Float[Tensor, "n 3 H W"],
    *,
    middle: Mixing = MIDDLE_MIXING,
    positions: Positions = by_size,
    label: Callable[[Float[Tensor, "n d h w"]], Int64[Tensor, "n h w"]] | None = None,
    labels: Mixing = LABEL_MIXING,
    short_sight: bool = False,
) -> Float[Tensor, "n d h w"]:
    """Features with ResCLIP's attention.

    Args:
        visual: A ViT of open_clip with 10 blocks or more.
        inputs: Normalised photos; height and width are multiples of the patch.
        middle: The mixing with the attention of middle blocks.
        positions: How positions are resampled.
        label: The second pass: from the features of the first pass to a label for each patch. None
            for the first pass alone.
        labels: The mixing of the second pass with the agreement of labels.
        short_sight: As the authors' code; see `agreement`.

    Raises:
        RecosegError: The tower has fewer than 10 blocks.
    """
    if depth(visual) <= MIDDLE.stop:
        raise RecosegError(
            f"ResCLIP's attention needs a ViT of {MIDDLE.stop + 1} blocks or more; got "
            f"{depth(visual)}."
        )
    tokens, grid = enter(visual, inputs, positions)
    outputs = [tokens, *run(visual, tokens, 0, -1)]
    other = torch.zeros((), dtype=tokens.dtype, device=tokens.device)
    for number in MIDDLE:
        found = heads(block_of(visual, number), outputs[number])
        other = other + similarity(found.q, found.k).softmax(-1) / len(MIDDLE)
    block = block_of(visual)
    found = heads(block, outputs[-1])
    own, near = similarity(found.k, found.k), gaussian_window(grid, GAUSSIAN_STD).to(found.k)

    def features(scores: Tensor) -> Tensor:
        mixed = attend(block, middle((scores + near).softmax(-1), other), found.v)
        return to_map(project(visual, mixed[:, 1:]), grid)

    first = features(own)
    if label is None:
        return first
    agree = torch.stack([agreement(item, short_sight=short_sight) for item in label(first)])
    return features(labels(own, agree[:, None].to(own)))


def agreement(
    labels: Int64[Tensor, "h w"], *, short_sight: bool = False
) -> Float[Tensor, "tokens tokens"]:
    """How much each patch agrees with each other one, 0 to 1; 0 for the class token.

    Patches of equal label agree; where another label lies on the line between them, by
    exp(-d / D), with d their Chebyshev distance and D the largest one of the grid. Each row is then
    smoothed along the flattened patches by a Gaussian with a standard deviation of 5, divided by
    its sum; the whole is divided by its maximum and rounded to half precision.

    Args:
        labels: A label for each patch.
        short_sight: Look only at the first d / D of each line, as the authors' code does.
    """
    grid = (labels.shape[0], labels.shape[1])
    rows, columns = torch.meshgrid(*(torch.arange(size) for size in grid), indexing="ij")
    places = torch.stack([rows.flatten(), columns.flatten()], dim=1).to(labels.device)
    distance = (places[:, None] - places[None]).abs().amax(-1)
    largest = int(distance.max())
    flat = labels.flatten()
    same = flat[:, None] == flat[None]
    seen = same & _in_sight(labels, places, distance, largest if short_sight else None)
    agree = same.float()
    blocked = same & ~seen
    agree[blocked] *= torch.exp(-distance[blocked].float() / max(largest, 1))
    smoothed = _smooth_rows(agree)
    smoothed = smoothed / (smoothed.sum(1, keepdim=True) + 1e-8)
    whole = F.pad(smoothed, (1, 0, 1, 0))
    return (whole / whole.max()).half().float()


def _in_sight(
    labels: Tensor, places: Tensor, distance: Tensor, steps: int | None
) -> Bool[Tensor, "p p"]:
    """Whether all patches on the line between two have the label of the first.

    Args:
        labels: (h, w).
        places: (p, 2), rows and columns.
        distance: (p, p), number of steps between two patches.
        steps: Number of steps into which each line is divided, of which only the first `distance`
            are looked at; None divides each line into its own `distance`.
    """
    start, end = places[:, None].float(), places[None].float()
    flat = labels.flatten()
    seen = torch.ones_like(distance, dtype=torch.bool)
    for step in range(int(distance.max()) + 1):
        whole = distance.clamp(min=1) if steps is None else torch.full_like(distance, max(steps, 1))
        t = (step / whole)[..., None]
        point = torch.round((1 - t) * start + t * end).long()
        found = labels[
            point[..., 0].clamp(0, labels.shape[0] - 1), point[..., 1].clamp(0, labels.shape[1] - 1)
        ]
        seen &= (found == flat[:, None]) | (step > distance)
    return seen


def _smooth_rows(rows: Float[Tensor, "p q"]) -> Float[Tensor, "p q"]:
    """Convolve each row with a Gaussian; borders count as 0."""
    size = min(rows.shape[1], _KERNEL)
    size += size % 2 == 0
    offsets = torch.arange(size, device=rows.device) - size // 2
    kernel = torch.exp(-offsets.float().square() / (2 * GAUSSIAN_STD**2))
    kernel = kernel / kernel.sum()
    return F.conv1d(rows[:, None], kernel[None, None], padding=size // 2)[:, 0]


def patch_labels(names: Int64[Tensor, "H W"], grid: Grid) -> Int64[Tensor, "h w"]:
    """The most frequent label of each patch's pixels; of equally frequent ones the smallest."""
    height, width = names.shape[0] // grid[0], names.shape[1] // grid[1]
    cells = names.reshape(grid[0], height, grid[1], width).permute(0, 2, 1, 3).flatten(2)
    counts = F.one_hot(cells, int(names.max()) + 1).sum(2)
    return counts.argmax(-1)
