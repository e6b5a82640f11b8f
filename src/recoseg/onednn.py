"""Matrix products in fp32 with oneDNN, where PyTorch itself uses MKL on x86 processors.

MKL uses only half of the vector width on processors that are not Intel's: on an AMD processor with
AVX-512, linear layers take twice as long as necessary. PyTorch computes convolutions with oneDNN,
and a matrix product is a convolution with filters of 1 x 1 pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

_FEWEST_ROWS = 16
"""With fewer rows, reading the weights takes most of the time, and MKL is as fast."""

_aten = torch.ops.aten


def has_bfloat16() -> bool:
    """Whether the processor multiplies bf16 natively; False where this PyTorch cannot tell."""
    if hasattr(torch.cpu, "get_capabilities"):
        known = torch.cpu.get_capabilities()
        return bool(known.get("avx512_bf16") or known.get("amx_bf16"))
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)  # older PyTorch
    return bool(asked and asked())


def linear(
    x: Float[Tensor, "n c"], weight: Float[Tensor, "m c"], bias: Float[Tensor, " m"] | None = None
) -> Float[Tensor, "n m"]:
    """`x @ weight.T + bias` without gradients; by oneDNN if the tensors are fp32 on the CPU."""
    if not _fits(x, weight):
        return F.linear(x, weight, bias)
    pixels = x[None, :, None].permute(0, 3, 1, 2)  # (1, c, n, 1), channels last
    filters = weight[:, :, None, None]
    found: Tensor = torch.mkldnn_convolution(
        pixels, filters, bias, padding=(0, 0), stride=(1, 1), dilation=(1, 1), groups=1
    )
    return found[0, :, :, 0].T


class OneDnnProducts(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context in which the layers of a network use `linear`; without gradients.

    It affects only the thread that enters it, and only fp32 tensors on the CPU.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one of PyTorch's operations."""
        kwargs = kwargs or {}
        if func is _aten.linear.default:  # inference mode does not split it into parts
            x, weight = args[:2]
            bias = args[2] if len(args) == 3 else None
            return linear(x.reshape(-1, x.shape[-1]), weight, bias).view(*x.shape[:-1], len(weight))
        if func is _aten.addmm.default and not kwargs and args[0].ndim == 1:
            bias, x, transposed = args
            return linear(x, transposed.T, bias)
        if func is _aten.mm.default:
            x, transposed = args
            return linear(x, transposed.T)
        if func is _aten._native_multi_head_attention.default and _is_plain(args, kwargs):
            return _attention(*args[:9]), None
        return func(*args, **kwargs)


def _fits(x: Tensor, weight: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and len(x) >= _FEWEST_ROWS
        and weight.numel() > 0
        and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    )


def _is_plain(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether the call is self-attention in fp32 on the CPU, with biases and without a mask."""
    query, key, value = args[:3]
    mask, need_weights = args[9:11] if len(args) == 11 else (None, True)
    return (
        query is key is value
        and query.dtype == torch.float32
        and query.device.type == "cpu"
        and not (kwargs or need_weights)
        and args[6] is not None
        and args[8] is not None
        and mask is None
    )


def _attention(
    x: Tensor,
    _key: Tensor,
    _value: Tensor,
    dim: int,
    heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    weight: Tensor,
    bias: Tensor,
) -> Tensor:
    """Self-attention, (n, tokens, dim), as separate operations instead of PyTorch's fused one."""
    n, tokens, _ = x.shape
    qkv = linear(x.reshape(n * tokens, dim), qkv_weight, qkv_bias)
    query, key, value = qkv.view(n, tokens, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)
    mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2)
    return linear(mixed.reshape(n * tokens, dim), weight, bias).view(n, tokens, dim)
