"""Block maxima of the affinity: how well each patch is matched in each retrieved image.

The published adjacency matrix `A = F_hat F_hat^T` holds the cosine of every pair of the n = k h w
patches of the k retrieved images. Only its maxima over the columns of each image are used, so it
is computed in tiles and never stored as a whole.

Four things make it fast:

* One tile `F_i F_j^T` holds the cosines from image i to image j and those from j to i. Its row
  maxima serve the first, its column maxima the second, so half of the products suffice.
* Column weights cost nothing: both sides are scaled before the product. The tile is then
  `w_p A[p, q] w_q`, and because `w_p >= 0`, its row maximum is `w_p max_q(A[p, q] w_q)`, the
  desired maximum times a known factor. The column maximum is the same with p and q exchanged.
* A tile is small enough to be still in the cache when its maxima are taken.
* On a CPU, oneDNN computes the products; see `recoseg.onednn`.

On a CUDA device with Triton, one kernel does all of this; see `triton_kernel`.

Further weightings of the same patches need no further products on a CPU: a tile is multiplied by
the ratio of their weights to those of the first, which are in it already.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.onednn import linear

_TILE_ELEMENTS = 4_000_000
"""Elements of a tile of 16 images: 16 MB in fp32, which fits a processor's last-level cache."""

_TILE_IMAGES = 16
"""Minimum number of images that a tile spans, if there are as many."""

_SMALLEST_WEIGHT = 1e-9
"""Smaller weights are raised to this value, which changes a support score by at most as much."""


def unit_patches(features: Float[Tensor, "k C h w"]) -> Float[Tensor, "n C"]:
    """The patches of all images as L2-normalised rows, image by image in reading order.

    A patch of zeros stays zero. The result is fp32, or fp64 for fp64 features. Half-precision
    features are converted one image at a time.
    """
    k, channels, height, width = features.shape
    size = height * width
    dtype = torch.float64 if features.dtype == torch.float64 else torch.float32
    rows = torch.empty(k * size, channels, dtype=dtype, device=features.device)
    for index in range(k):
        image = rows[index * size : (index + 1) * size]
        image.copy_(features[index].reshape(channels, size).T)
        # Divided by the largest entry first: squares of very large or small features stay finite.
        image /= image.abs().amax(1, keepdim=True).clamp_min_(torch.finfo(dtype).tiny)
        image /= torch.linalg.vector_norm(image, dim=1, keepdim=True).clamp_min_(0.5)
    return rows


def block_maxima(
    features: Float[Tensor, "k C h w"],
    weightings: Sequence[Float[Tensor, "k h w"] | None] = (None,),
) -> list[Float[Tensor, "n k"]]:
    """The best weighted cosine of every patch with the patches of every image, for each weighting.

    `M[p, j] = max over patches q of image j of (A[p, q] * w[q])`: the columns of the pseudo-code's
    `grid` (supplement, Algorithm 1) with the column weights of language guidance and context
    elimination (sections 3.2 and 3.3).

    Args:
        features: Features of k images, any scale, any floating-point dtype.
        weightings: In each, one weight in [0, 1] per patch. None means that all weights are 1.

    Returns:
        The maxima by each weighting, in [-1, 1], fp32 (fp64 for fp64 features). Half-precision
        features on a CUDA device are multiplied in their own precision, so that cosines are
        accurate to 0.002 (fp16) or 0.016 (bf16); otherwise the arithmetic is fp32.
    """
    rows = unit_patches(features)
    if rows.is_cuda and rows.dtype == torch.float32 and find_spec("triton"):
        from recoseg.cosegmentation import triton_kernel

        rows = rows.to(features.dtype)
        flat = [None if weights is None else weights.flatten() for weights in weightings]
        return [triton_kernel.block_maxima(rows, len(features), weights) for weights in flat]
    first, *others = (_scale(weights, rows) for weights in weightings)
    rows *= first
    ratios = [other / first for other in others]
    return [maxima.div_(first) for maxima in _maxima_of_products(rows, len(features), ratios)]


def _scale(weights: Float[Tensor, "k h w"] | None, rows: Float[Tensor, "n C"]) -> Tensor:
    """The factors on the rows, (n, 1), none of them 0."""
    if weights is None:
        return rows.new_ones(len(rows), 1)
    return weights.flatten()[:, None].to(rows.dtype).clamp(min=_SMALLEST_WEIGHT)


def _maxima_of_products(
    rows: Float[Tensor, "n C"], k: int, ratios: Sequence[Float[Tensor, "n 1"]]
) -> list[Float[Tensor, "n k"]]:
    """The largest product of every row with the rows of each of k images.

    Each pair of images is multiplied once and used in both directions.

    Returns:
        These maxima, then, for each of `ratios`, the maxima where the rows that are compared with
        are multiplied by it.
    """
    n = len(rows)
    size = n // k
    found = [rows.new_full((n, k), -torch.inf) for _ in (None, *ratios)]
    cut = max(1, min(size, _TILE_ELEMENTS // (_TILE_IMAGES * size)))
    for i in range(k):
        # Image i with the images from i to the last, in parts of 16 to 31 images if there are 16.
        parts = max(1, (k - i) // _TILE_IMAGES)
        bounds = [i + (k - i) * part // parts for part in range(parts + 1)]
        for start in range(i * size, (i + 1) * size, cut):
            own = slice(start, min(start + cut, (i + 1) * size))
            for j, j_end in pairwise(bounds):
                others = slice(j * size, j_end * size)
                images = rows[others].view(j_end - j, size, -1)
                tile = _products(images, rows[own])
                _keep_forth(tile, found[0][own, j:j_end])
                _keep_back(tile, found[0][others, i])
                scaled = torch.empty_like(tile)
                for ratio, maxima in zip(ratios, found[1:], strict=True):
                    torch.mul(tile, ratio[others].view(j_end - j, size, 1), out=scaled)
                    _keep_forth(scaled, maxima[own, j:j_end])
                    torch.mul(tile, ratio[own].view(1, 1, -1), out=scaled)
                    _keep_back(scaled, maxima[others, i])
    return found


def _keep_forth(tile: Float[Tensor, "m s r"], maxima: Float[Tensor, "r m"]) -> None:
    """Set the maxima of the tile's rows over the patches of each of its images."""
    maxima.copy_(tile.amax(1).T)


def _keep_back(tile: Float[Tensor, "m s r"], maxima: Float[Tensor, " ms"]) -> None:
    """Raise the maxima of the patches of the tile's images over its rows."""
    torch.maximum(maxima, tile.flatten(0, 1).amax(1), out=maxima)


def _products(images: Float[Tensor, "m s C"], rows: Float[Tensor, "r C"]) -> Float[Tensor, "m s r"]:
    """`images @ rows.T` in the precision of the operands."""
    with torch.autocast(images.device.type, enabled=False):
        return linear(images.flatten(0, 1), rows).view(*images.shape[:2], -1)
