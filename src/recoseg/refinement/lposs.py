"""LPOSS: scores that spread between alike patches, and then between alike pixels.

Stojnić et al., "LPOSS: Label Propagation Over Patches and Pixels for Open-vocabulary Semantic
Segmentation", CVPR 2025. Patches (or pixels) are the nodes of a graph with symmetric weights W.
With D the diagonal matrix of its row sums, the refined scores Z of the scores Y solve

    (I - alpha D^-1/2 W D^-1/2) Z = Y,

of which a few steps of conjugate gradients give an estimate. As published, there are ten steps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.errors import OptionError
from recoseg.refinement.neighbours import neighbour_sums, rows_beyond, strip_indices

_CHUNK_ELEMENTS = 1 << 24  # similarities, or scores of a chunk of classes, in memory at once
_RANGES = (100.0, 128.0, 128.0)  # what L, a and b are divided by
_FLAT = 1e-12  # degree of a node without neighbours, whose scores stay as they are


@dataclass(frozen=True)
class LpossSettings:
    """Parameters of LPOSS; the defaults are the published ones.

    Attributes:
        neighbours: Most similar patches that a patch is joined to, itself included.
        power: Exponent of the similarity of two patches.
        distance: Weights fall by e per 1 / `distance` pixels between the centres of patches.
        alpha: Share of the neighbours' scores, 0 to 1; with 0 nothing spreads.
        steps: Most steps of conjugate gradients.
        tolerance: A class needs no further step when its residual is this share of its scores.
        square: Side of the square of pixels that a pixel is joined to, odd.
        colour: Weights fall by e per this difference in Lab, whose parts are divided by 100, 128
            and 128.
    """

    neighbours: int = 400
    power: float = 3.0
    distance: float = 0.01
    alpha: float = 0.95
    steps: int = 10
    tolerance: float = 1e-6
    square: int = 13
    colour: float = 0.01

    def __post_init__(self) -> None:
        for name in ("neighbours", "steps"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; expected 1 or more.")
        for name in ("distance", "tolerance"):
            if not getattr(self, name) >= 0:
                raise OptionError(f"{name} is {getattr(self, name)}; expected 0 or more.")
        for name in ("power", "colour"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} is {getattr(self, name)}; expected more than 0.")
        if not 0 <= self.alpha < 1:
            raise OptionError(f"alpha is {self.alpha}; expected 0 or more and less than 1.")
        if self.square < 3 or self.square % 2 == 0:
            raise OptionError(f"square is {self.square}; expected an odd number of 3 or more.")


def lposs(
    scores: Float[Tensor, "n c"],
    features: Float[Tensor, "n C"],
    positions: Float[Tensor, "n 2"],
    settings: LpossSettings | None = None,
) -> Float[Tensor, "n c"]:
    """Spread the scores of patches between patches of alike features.

    All patches of a photo are nodes of one graph: those of its windows too, even where these
    overlap.

    Args:
        scores: Scores of each class, such as cosines.
        features: Features of a visual encoder; they need not be normalised.
        positions: Centres of the patches in pixels of the encoder's input; see `patch_centres`.
        settings: The parameters; None for the published ones.

    Returns:
        Refined scores, fp32. They are sums: up to 1 / (1 - alpha) times as large.
    """
    settings = settings or LpossSettings()
    weights = patch_weights(features, positions, settings)
    scale = weights_scale(torch.sparse.sum(weights, 1).to_dense())

    def spread(x: Tensor) -> Tensor:
        return scale * torch.sparse.mm(weights, scale * x)

    return solve(spread, scores.float(), settings)


def patch_centres(
    grid_hw: tuple[int, int], stride: int, first: tuple[int, int] = (0, 0)
) -> Float[Tensor, "n 2"]:
    """The centres (y, x) of an encoder's patches in pixels of its input, row by row.

    Args:
        grid_hw: Size of the grid, cells.
        stride: Pixels per cell.
        first: The first pixel of the window that the grid covers.
    """
    y, x = (
        (torch.arange(cells) + 0.5) * stride + start
        for cells, start in zip(grid_hw, first, strict=True)
    )
    return torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).view(-1, 2)


def patch_weights(
    features: Float[Tensor, "n C"], positions: Float[Tensor, "n 2"], settings: LpossSettings
) -> Float[Tensor, "n n"]:
    """The weights W between patches, a symmetric sparse matrix without a diagonal.

    W is A + A^T, where A_ij = max(cos_ij, 0)^power exp(-distance |p_i - p_j|) for the patches j
    that are most similar to i.
    """
    unit = F.normalize(features.float(), dim=1)
    count = len(unit)
    near = min(settings.neighbours, count)
    step = max(1, _CHUNK_ELEMENTS // count)
    values, columns = [], []
    for start in range(0, count, step):
        similar, places = (unit[start : start + step] @ unit.T).topk(near, dim=1)
        apart = (positions[start : start + step, None] - positions[places]).norm(dim=2)
        values.append(
            similar.clamp(min=0) ** settings.power * torch.exp(-settings.distance * apart)
        )
        columns.append(places)
    column, value = torch.cat(columns).flatten(), torch.cat(values).flatten()
    row = torch.arange(count, device=unit.device).repeat_interleave(near)
    kept = row != column
    row, column, value = row[kept], column[kept], value[kept]
    places = torch.stack([torch.cat([row, column]), torch.cat([column, row])])
    pairs = torch.cat([value, value])
    size = (count, count)
    return torch.sparse_coo_tensor(places, pairs, size, check_invariants=False).coalesce()


def lposs_pixels(
    scores: Float[Tensor, "c h w"],
    image: UInt8[Tensor, "3 h w"],
    settings: LpossSettings | None = None,
) -> Float[Tensor, "c h w"]:
    """Spread scores between neighbouring pixels of alike colour: the second step of LPOSS+.

    Args:
        scores: Scores of each class at the pixels of the photo, such as those of `lposs`.
        image: RGB.
        settings: The parameters; None for the published ones.

    Returns:
        Refined scores, fp32. They are sums: up to 1 / (1 - alpha) times as large.
    """
    settings = settings or LpossSettings()
    reach = settings.square // 2
    around = range(-reach, reach + 1)
    offsets = [(dy, dx) for dy in around for dx in around if (dy, dx) != (0, 0)]
    weights = pixel_weights(image, offsets, settings.colour)
    scale = weights_scale(weights.sum(2))
    classes, height, width = scores.shape
    indices = strip_indices(height, width, offsets, scores.device)
    margin = rows_beyond(offsets)
    chunk = max(1, _CHUNK_ELEMENTS // ((height + 2 * margin) * width))
    refined = torch.empty(scores.shape, device=scores.device)
    for start in range(0, classes, chunk):
        columns = scores[start : start + chunk].float().permute(1, 2, 0)
        # Pixels beyond the border have weight 0, whatever their scores.
        padded = columns.new_zeros(height + 2 * margin, width, columns.shape[2])

        def spread(x: Tensor, padded: Tensor = padded) -> Tensor:
            maps = x.view(height, width, -1)
            padded[margin : margin + height] = scale * maps
            sums = torch.empty_like(maps)
            neighbour_sums(padded, weights, indices, sums)
            return (scale * sums).view(x.shape)

        solved = solve(spread, columns.reshape(height * width, -1), settings)
        refined[start : start + chunk] = solved.view(height, width, -1).permute(2, 0, 1)
    return refined


def pixel_weights(
    image: UInt8[Tensor, "3 h w"], offsets: list[tuple[int, int]], colour: float
) -> Float[Tensor, "h w k"]:
    """The weight of each neighbour, exp(-|difference in Lab| / colour); 0 beyond the border."""
    from skimage.color import rgb2lab

    pixels = image.permute(1, 2, 0).cpu().numpy().astype(np.float32) / 255
    parts = torch.from_numpy(rgb2lab(pixels) / np.array(_RANGES, np.float32))
    parts = parts.to(image.device).permute(2, 0, 1)
    _, height, width = parts.shape
    weights = torch.zeros(height, width, len(offsets), device=image.device)
    for place, (dy, dx) in enumerate(offsets):
        if abs(dy) >= height or abs(dx) >= width:
            continue
        rows, columns = (
            slice(max(0, -dy), height - max(0, dy)),
            slice(max(0, -dx), width - max(0, dx)),
        )
        there = parts[:, max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
        away = (parts[:, rows, columns] - there).norm(dim=0)
        weights[rows, columns, place] = torch.exp(-away / colour)
    return weights


def weights_scale(degrees: Float[Tensor, "*n"]) -> Float[Tensor, "*n 1"]:
    """D^-1/2 of the row sums of the weights."""
    return degrees.clamp(min=_FLAT).rsqrt()[..., None]


def solve(
    spread: Callable[[Tensor], Tensor], scores: Float[Tensor, "n c"], settings: LpossSettings
) -> Float[Tensor, "n c"]:
    """Solve (I - alpha S) Z = Y by conjugate gradients from 0, for each class by itself.

    Args:
        spread: From (n, c) to the product of the symmetric matrix S with it.
        scores: Y.
        settings: alpha, steps and tolerance.
    """
    solution = torch.zeros_like(scores)
    residual = scores.clone()
    direction = scores.clone()
    squares = residual.square().sum(0)
    enough = squares * settings.tolerance**2
    for _ in range(settings.steps):
        running = squares > enough
        if not running.any():
            break
        moved = direction - settings.alpha * spread(direction)
        # A class that has converged takes steps of length 0.
        length = torch.where(running, squares / (direction * moved).sum(0), 0.0)
        solution += length * direction
        residual -= length * moved
        before, squares = squares, residual.square().sum(0)
        direction = residual + torch.where(running, squares / before, 0.0) * direction
    return solution
