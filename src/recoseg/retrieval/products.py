"""Cosines of many rows with a few words: fast products with a known error bound, and exact ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.onednn import has_bfloat16, linear

_TILE = 2048
"""Number of rows that are converted and multiplied at once; they fit the processor's cache."""
_LONG_TILE = 16_384
"""Number of rows that are multiplied at once if they need no conversion."""
_CONVERTED = 256
"""Number of rows that are converted at once on the way to half precision, for the same reason."""
_VECTORS = 2
"""Up to this number of words, one product per word is faster than a product with their matrix."""
_LONGEST = 1.05
"""Upper bound of the length of a row, which is 1 up to rounding."""


@dataclass(frozen=True)
class Product:
    """A way to multiply rows with words.

    Attributes:
        summed: Bound of the error of a cosine before it is rounded to `dtype`.
        dtype: Type to which the sum is rounded.
        cosines: Function from (m, d) float16 or float32 rows to (m, w) fp32 cosines. Its result
            is valid until the next call.
        tile: Number of rows m for which it is fastest.
    """

    summed: float
    dtype: torch.dtype
    cosines: Callable[[Tensor], Tensor]
    tile: int

    @property
    def error(self) -> float:
        """Bound of the difference between a cosine and the exact one."""
        return self.summed + _LONGEST * torch.finfo(self.dtype).eps / 2

    def lowest(self, exact: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Lower bound of the computed cosine of rows whose exact cosine is at least `exact`, fp32.

        Rounding preserves order, so the bound can be rounded in the same way.
        """
        below = (exact - self.summed).nextafter(exact.new_tensor(float("-inf")))
        return below.to(self.dtype).float()


def products(words: Float[Tensor, "w d"]) -> list[Product]:
    """The products to try in turn, from the fastest to the most exact.

    One or two words are multiplied with float16 rows as they are stored, which is limited by memory
    bandwidth only. More words are multiplied in bfloat16 if the processor supports it. The last
    product is always fp32.

    Args:
        words: Text embeddings, fp32, rows L2-normalised.
    """
    found = []
    if len(words) <= _VECTORS and _adds_in_single(torch.float16):
        found.append(_vectors(words))
    elif len(words) > _VECTORS and has_bfloat16() and _adds_in_single(torch.bfloat16):
        found.append(_matrix(words, torch.bfloat16))
    return [*found, _matrix(words, torch.float32)]


def _vectors(words: Float[Tensor, "w d"]) -> Product:
    rounded = words.half()
    single = _matrix(words, torch.float32)

    def cosines(rows: Tensor) -> Tensor:
        if rows.dtype != torch.float16:
            return single.cosines(rows).half().float()
        return torch.stack([torch.mv(rows, word) for word in rounded], 1).float()

    return Product(_error(words, rounded, 0.0), torch.float16, cosines, _LONG_TILE)


def _matrix(words: Float[Tensor, "w d"], dtype: torch.dtype) -> Product:
    rounded = words.to(dtype)
    wide = torch.empty(_TILE if dtype == torch.float32 else _CONVERTED, words.shape[1])
    narrow = torch.empty(_TILE, words.shape[1], dtype=dtype)
    products = torch.empty(_TILE, len(words), dtype=dtype)

    def tile(rows: Tensor) -> Tensor:
        count = len(rows)
        if dtype == torch.float32:
            same = rows.dtype == torch.float32
            return linear(rows if same else wide[:count].copy_(rows), words)
        # From fp32, since converting float16 directly takes four times as long.
        for source, target in zip(
            torch.split(rows, _CONVERTED), torch.split(narrow, _CONVERTED), strict=False
        ):
            target[: len(source)].copy_(wide[: len(source)].copy_(source))
        return torch.mm(narrow[:count], rounded.T, out=products[:count]).float()

    # A function that called itself would hold the buffers until Python looks for garbage.
    def cosines(rows: Tensor) -> Tensor:
        if len(rows) > _TILE:
            return torch.cat([tile(part).clone() for part in torch.split(rows, _TILE)])
        return tile(rows)

    of_rows = 0.0 if dtype == torch.float32 else torch.finfo(dtype).eps / 2
    return Product(_error(words, rounded, of_rows), dtype, cosines, _TILE)


def _error(words: Float[Tensor, "w d"], rounded: Tensor, of_rows: float) -> float:
    """Bound of the error of a sum: rounding of the words, of the rows, and of the fp32 additions.

    Rounding moves a row by at most `of_rows` times its length; how far it moves the words is
    measured here. By the Cauchy-Schwarz inequality, the error of a product is at most the product
    of the lengths.
    """
    exact = words.double()
    moved = float((rounded.double() - exact).norm(dim=1).max())
    longest = _LONGEST * (float(exact.norm(dim=1).max()) + moved)
    of_sum = (words.shape[1] + 2) * torch.finfo(torch.float32).eps
    smallest = torch.finfo(torch.float16).smallest_normal * torch.finfo(torch.float16).eps
    return _LONGEST * moved + longest * (of_rows + of_sum) + smallest


@cache
def _adds_in_single(dtype: torch.dtype) -> bool:
    """Whether products of this type are summed in fp32, as the error bound assumes.

    The test sum rises to about 10 and returns to 0, so any rounding in between leaves a remainder.
    """
    generator = torch.Generator().manual_seed(0)
    half = torch.rand(64, 2048, generator=generator) / 10
    rows = torch.cat([half, half], 1).to(dtype)
    word = torch.rand(2048, generator=generator) / 10
    words = torch.cat([word, -word]).to(dtype)
    rest = torch.mv(rows, words) if dtype == torch.float16 else rows @ words.expand(8, -1).T
    return float(rest.abs().max()) < 1e-4
