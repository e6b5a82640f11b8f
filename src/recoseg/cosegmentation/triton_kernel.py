"""Block maxima on a GPU: products, weights and maxima of a tile in one kernel.

As on the CPU (see `affinity`), each pair of images is multiplied once. A tile is never written to
memory. Half-precision rows are multiplied by the tensor cores with fp32 sums; fp32 rows are
multiplied in fp32.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from jaxtyping import Float
from torch import Tensor

_BLOCK = 64
"""Patches per side of a tile, and channels per step of its product."""


def block_maxima(
    patches: Float[Tensor, "n C"], k: int, weights: Float[Tensor, " n"] | None = None
) -> Float[Tensor, "n k"]:
    """`M[p, j] = max over patches q of image j of (A[p, q] * w[q])`, A being `patches @ patches.T`.

    Args:
        patches: L2-normalised rows of k images of n / k patches each: fp32, fp16 or bf16.
        k: Number of images.
        weights: One weight in [0, 1] per patch. None means that all weights are 1.

    Returns:
        The maxima, fp32.
    """
    patches = patches.contiguous()
    n, channels = patches.shape
    size = n // k
    maxima = torch.full((n, k), -torch.inf, device=patches.device)
    pairs = torch.triu_indices(k, k, device=patches.device).T.contiguous()
    grid = (len(pairs), triton.cdiv(size, _BLOCK))
    with torch.cuda.device_of(patches):  # type: ignore[no-untyped-call]
        _maxima_of_pairs[grid](
            patches,
            patches if weights is None else weights.float().contiguous(),
            pairs,
            maxima,
            size,
            channels,
            k,
            is_weighted=weights is not None,
            block=_BLOCK,
        )
    return maxima


@triton.jit  # type: ignore[untyped-decorator, unused-ignore]
def _maxima_of_pairs(
    patches: tl.tensor,
    weights: tl.tensor,
    pairs: tl.tensor,
    maxima: tl.tensor,
    size: tl.tensor,
    channels: tl.tensor,
    k: tl.tensor,
    is_weighted: tl.constexpr,
    block: tl.constexpr,
) -> None:
    """Some patches of image i with all of image j, in both directions; (i, j) is `pairs[id]`."""
    i = tl.load(pairs + 2 * tl.program_id(0))
    j = tl.load(pairs + 2 * tl.program_id(0) + 1)
    steps = tl.arange(0, block)
    p = tl.program_id(1) * block + steps
    p_is_in = p < size
    row = i * size + p
    if is_weighted:
        row_weights = tl.load(weights + row, mask=p_is_in, other=0.0)
    best = tl.full((block,), float("-inf"), tl.float32)
    for start in range(0, size, block):
        q = start + steps
        q_is_in = q < size
        column = j * size + q
        tile = tl.zeros((block, block), tl.float32)
        for first in range(0, channels, block):
            c = first + steps
            left = tl.load(
                patches + row[:, None] * channels + c[None, :],
                mask=p_is_in[:, None] & (c < channels)[None, :],
                other=0.0,
            )
            right = tl.load(
                patches + column[None, :] * channels + c[:, None],
                mask=q_is_in[None, :] & (c < channels)[:, None],
                other=0.0,
            )
            tile = tl.dot(left, right, tile, input_precision="ieee")
        forth, back = tile, tile
        if is_weighted:
            column_weights = tl.load(weights + column, mask=q_is_in, other=0.0)
            forth = tile * column_weights[None, :]
            back = tile * row_weights[:, None]
        forth = tl.where(q_is_in[None, :], forth, float("-inf"))
        back = tl.where(p_is_in[:, None], back, float("-inf"))
        best = tl.maximum(best, tl.max(forth, 1))
        tl.atomic_max(maxima + column * k + i, tl.max(back, 0), mask=q_is_in)
    tl.atomic_max(maxima + row * k + j, best, mask=p_is_in)
