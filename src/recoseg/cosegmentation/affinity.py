"""How well each patch is matched in each retrieved image.

The published adjacency matrix `A = F_hat F_hat^T` holds the cosine of every pair of patches of
the k retrieved images, n = k h w of them. Only its maxima over the columns of each image are
ever used, so it is computed in tiles and never held.

Three things make it fast:

* One tile `F_i F_j^T` holds the cosines from image i to image j and those from j to i. Its row
  maxima serve the first, its column maxima the second, so half of the products suffice.
* Column weights cost nothing: both sides are scaled before the product. The tile is then
  `w_p A[p, q] w_q`, and because `w_p >= 0`, its row maximum is `w_p max_q(A[p, q] w_q)`, the
  wanted number times a known factor. The column maximum is the same with p and q exchanged.
* A tile is small enough to be still in the cache when its maxima are taken.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_TILE_ELEMENTS = {"cpu": 400_000, "cuda": 32_000_000}
"""Numbers in one tile: 1.6 MB where a core's cache matters, 128 MB where a launch costs more."""

_TILE_ROWS = {"cpu": 128, "cuda": 2048}
"""Rows a tile should have at least for the matrix product to run at its full rate."""

_SMALLEST_WEIGHT = 1e-9
"""Weights below this count as this: it moves a support score by at most as much."""


def unit_patches(features: Float[Tensor, "k C h w"]) -> Float[Tensor, "n C"]:
    """The patches of all images as L2-normalised rows, image by image, each row by row.

    A patch of zeros stays zero. The result is fp32, or fp64 where the features are; half-precision
    features are widened one image at a time.
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
    patches: Float[Tensor, "n C"], k: int, weights: Float[Tensor, " n"] | None = None
) -> Float[Tensor, "n k"]:
    """The best weighted cosine of every patch with the patches of every image.

    `M[p, j] = max over patches q of image j of (A[p, q] * w[q])`: the columns of the pseudo-code's
    `grid` (supplement, Algorithm 1) with the column weights of language guidance and context
    elimination (sections 3.2 and 3.3).

    Args:
        patches: L2-normalised rows of k images of n / k patches each, fp32 or fp64; see
            `unit_patches`.
        k: Number of images.
        weights: One weight in [0, 1] per patch; None for ones.

    Returns:
        The maxima, in [-1, 1], in the dtype of `patches`.
    """
    n = patches.shape[0]
    size = n // k
    scale = None
    if weights is not None:
        scale = weights.to(patches.dtype).clamp(min=_SMALLEST_WEIGHT)
        patches = patches * scale[:, None]
    maxima = patches.new_full((n, k), -torch.inf)

    limit = _TILE_ELEMENTS.get(patches.device.type, _TILE_ELEMENTS["cuda"])
    rows_wanted = _TILE_ROWS.get(patches.device.type, _TILE_ROWS["cuda"])
    # A tile spans whole images in both directions, `down` of them by `across`. Where a single
    # pair of images exceeds the limit, its rows are cut.
    down = max(1, min(k, rows_wanted // size, limit // size**2))
    across = max(1, min(k, limit // (down * size**2)))
    cut = max(1, min(down * size, 4 * limit // (across * size))) if down == 1 else down * size
    buffer = patches.new_empty(cut * across * size)
    with torch.autocast(patches.device.type, enabled=False):
        for i in range(0, k, down):
            i_end = min(i + down, k)
            for j in range(i, k, across):
                j_end = min(j + across, k)
                columns = patches[j * size : j_end * size].T
                for start in range(i * size, i_end * size, cut):
                    end = min(start + cut, i_end * size)
                    tile = buffer[: (end - start) * columns.shape[1]].view(end - start, -1)
                    torch.mm(patches[start:end], columns, out=tile)
                    by_column_image = tile.view(end - start, j_end - j, size)
                    maxima[start:end, j:j_end] = by_column_image.amax(2)
                    images = i_end - i if end - start == (i_end - i) * size else 1
                    by_row_image = tile.view(images, -1, columns.shape[1])
                    target = maxima[j * size : j_end * size, i : i + images]
                    torch.maximum(target, by_row_image.amax(1).T, out=target)
    if scale is not None:
        maxima /= scale[:, None]
    return maxima
