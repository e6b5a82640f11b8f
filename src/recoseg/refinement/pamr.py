"""Pixel-adaptive mask refinement (PAMR): averages score maps over neighbours of similar colour.

Araslanov and Roth, "Single-Stage Semantic Segmentation from Image Labels", CVPR 2020. The
neighbours k of a pixel i are the 8 surrounding ones at each of several dilations. Their weights
are a softmax over k of

    -mean over the colour channels of |x_i - x_k| / (0.1 s_i),

where s_i is the channel's standard deviation over the 3 x 3 windows of all dilations around i.
Beyond the border the outermost pixels are repeated. Probabilities are then replaced, several times,
by the weighted means of their neighbours.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int32, Real
from torch import Tensor

from recoseg.errors import RecosegError
from recoseg.refinement.neighbours import neighbour_sums, strip_indices

PUBLISHED_DILATIONS = (1, 2, 4, 8, 12, 24)
"""The dilations of the authors' configurations for PASCAL VOC, used by most later work."""

PUBLISHED_ITERATIONS = 10
"""The number of steps of the same configurations."""

_SHARPNESS = 0.1  # published: differences are measured in tenths of the standard deviation
_FLAT = 1e-8  # avoids division by zero in flat neighbourhoods, whose weights are equal

_AFFINITY_PIXELS = 4096  # pixels whose neighbours' colours are in memory at once: 3 k floats each
_CHUNK_ELEMENTS = 1 << 24  # size of each of the two buffers for a chunk of classes


def neighbour_offsets(dilations: Sequence[int]) -> list[tuple[int, int]]:
    """The (y, x) offsets of all neighbours, dilation by dilation, row by row.

    Example:
        >>> neighbour_offsets([2])[:4]
        [(-2, -2), (-2, 0), (-2, 2), (0, -2)]
    """
    if not dilations or min(dilations) < 1:
        raise RecosegError(f"Expected dilations of 1 or more; got {tuple(dilations)}.")
    steps = (-1, 0, 1)
    return [(d * y, d * x) for d in dilations for y in steps for x in steps if (y, x) != (0, 0)]


def affinities(
    images: Real[Tensor, "n 3 h w"],
    dilations: Sequence[int] = PUBLISHED_DILATIONS,
) -> Float[Tensor, "n h w k"]:
    """Compute the weight of each neighbour of each pixel.

    Args:
        images: RGB on any scale: multiplying a channel, or adding to it, changes nothing.
        dilations: Distances of the neighbours, in pixels.

    Returns:
        fp32 weights in [0, 1], in the order of `neighbour_offsets`; they add up to 1 over
        k = 8 * len(dilations).

    Raises:
        RecosegError: The images have the wrong shape, or a dilation is less than 1.
    """
    if images.ndim != 4:
        raise RecosegError(f"Expected images (n, 3, h, w); got {tuple(images.shape)}.")
    offsets = neighbour_offsets(dilations)
    n, _, height, width = images.shape
    margin = max(dilations)
    weights = torch.empty(n, height, width, len(offsets), device=images.device)
    rows = affinity_rows(width)
    for image, out in zip(images, weights, strict=True):
        padded = F.pad(image[None].float(), [margin] * 4, mode="replicate")[0]
        for start in range(0, height, rows):
            end = min(start + rows, height)
            strip = padded[:, start : end + 2 * margin]
            out[start:end] = strip_affinities(strip, offsets, margin).permute(1, 2, 0)
    return weights


def affinity_rows(width: int) -> int:
    """Rows of a photo whose affinities are computed at once."""
    return max(1, _AFFINITY_PIXELS // width)


def strip_affinities(
    padded: Float[Tensor, "3 hp wp"], offsets: Sequence[tuple[int, int]], margin: int
) -> Float[Tensor, "k h w"]:
    """The affinities of the pixels within the margin."""
    height, width = padded.shape[1] - 2 * margin, padded.shape[2] - 2 * margin

    def shifted(y: int, x: int) -> Tensor:
        return padded[:, margin + y : margin + y + height, margin + x : margin + x + width]

    away = torch.stack([shifted(y, x) for y, x in offsets], 1).sub_(shifted(0, 0)[:, None])
    # Each window contains the pixel itself, where `away` is 0. Since all differences are
    # relative to that pixel, subtracting the two terms loses at most one digit.
    count = len(offsets) * 9 // 8
    total, squares = away.sum(1), away.square().sum(1)
    variance = (squares - total.square() / count) / (count - 1)
    scale = 1 / (_SHARPNESS * variance.clamp_(min=0).sqrt() + _FLAT)
    return away.abs_().mul_(scale[:, None]).mean(0).neg_().softmax(0)


def pamr(
    probs: Float[Tensor, "n c h w"],
    images: Real[Tensor, "n 3 h w"],
    iterations: int = PUBLISHED_ITERATIONS,
    dilations: Sequence[int] = PUBLISHED_DILATIONS,
) -> Float[Tensor, "n c h w"]:
    """Average score maps over neighbours of the same colour, several times.

    Each step is linear and its weights add up to 1, so that constant maps stay constant, and the
    sum over classes does not change.

    Besides its result the call needs, for one image at a time, 4 k h w bytes of affinities (192
    per pixel with the published dilations) and two buffers of at most 64 MiB each, or of one class
    if that is more.

    Args:
        probs: Score maps: probabilities as published, but any scale works.
        images: RGB of the same pixels, on the same device, on any scale.
        iterations: Number of steps; 0 changes nothing.
        dilations: Distances of the neighbours, in pixels.

    Returns:
        The refined maps, fp32.

    Raises:
        RecosegError: The shapes do not match, or a setting is out of range.

    Example:
        >>> image = torch.tensor([0, 0, 0, 9, 9, 9]).expand(1, 3, 1, 6)
        >>> noisy = torch.tensor([[[[1.0, 0.0, 1.0, 0.0, 0.0, 0.0]]]])
        >>> (pamr(noisy, image, dilations=(1, 2)) > 0.5).flatten().tolist()
        [True, True, True, False, False, False]
    """
    if images.ndim != 4 or probs.ndim != 4 or _pixels(probs) != _pixels(images):
        raise RecosegError(
            f"Expected score maps (n, c, h, w) and images (n, 3, h, w) of the same pixels; got "
            f"{tuple(probs.shape)} and {tuple(images.shape)}."
        )
    if iterations < 0:
        raise RecosegError(f"iterations is {iterations}; expected 0 or more.")
    classes, height, width = probs.shape[1:]
    indices = strip_indices(height, width, neighbour_offsets(dilations), probs.device)
    margin = max(dilations)
    chunk = max(1, _CHUNK_ELEMENTS // ((height + 2 * margin) * width))
    refined = torch.empty(probs.shape, device=probs.device)
    with torch.no_grad():
        for index in range(len(probs)):
            weights = affinities(images[index : index + 1], dilations)[0]
            for start in range(0, classes, chunk):
                part = slice(start, start + chunk)
                maps = probs[index, part].permute(1, 2, 0)
                maps = _iterate(maps, weights, indices, margin, iterations)
                refined[index, part] = maps.permute(2, 0, 1)
    return refined


def _pixels(maps: Tensor) -> tuple[int, int, int]:
    return len(maps), maps.shape[2], maps.shape[3]


def _iterate(
    maps: Float[Tensor, "h w c"],
    weights: Float[Tensor, "h w k"],
    indices: Int32[Tensor, "rows w k"],
    margin: int,
    iterations: int,
) -> Float[Tensor, "h w c"]:
    """Run all steps for one chunk of classes, strip by strip."""
    height, width, classes = maps.shape
    shape = (height + 2 * margin, width, classes)
    before, after = (torch.empty(shape, device=maps.device) for _ in range(2))
    before[margin : margin + height] = maps
    for _ in range(iterations):
        before[:margin] = before[margin]
        before[margin + height :] = before[margin + height - 1]
        neighbour_sums(before, weights, indices, after[margin : margin + height])
        before, after = after, before
    return before[margin : margin + height]
