"""Where and at which precision the encoders run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from recoseg.errors import RecosegError
from recoseg.onednn import OneDnnProducts, has_bfloat16

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """A device and the precision of the encoders' forward passes.

    Matrix products and convolutions run in `dtype` by autocast, and every encoder returns fp32.

    Attributes:
        device: Where models and features live.
        dtype: fp32, or the half precision of the autocast region.
    """

    device: torch.device
    dtype: torch.dtype

    @property
    def precision(self) -> str:
        """The precision's short name, as manifests and banks record it."""
        return next(name for name, dtype in _DTYPES.items() if dtype == self.dtype)

    def place(self, network: nn.Module) -> None:
        """Bring a network to the device, frozen, for forward passes within `autocast`.

        On a CPU the weights of products are rounded to `dtype` here. Autocast would do it at every
        pass, and PyTorch's attention with weights that it has rounded copies them for each token:
        ViT-B/32 made 36 photos/s in batches of 64 and 16 in batches of 16, instead of 63 and 70.
        """
        network.requires_grad_(False).eval().to(self.device)
        if self.device.type != "cpu" or self.dtype == torch.float32:
            return
        for part in network.modules():
            for name in _of_products(part):
                parameter = getattr(part, name)
                if parameter is not None:
                    parameter.data = parameter.data.to(self.dtype)

    def autocast(self) -> AbstractContextManager[object]:
        """The context of a forward pass: half precision, or on the CPU faster products in fp32."""
        if self.dtype == torch.float32:
            return OneDnnProducts() if self.device.type == "cpu" else nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def _of_products(part: nn.Module) -> tuple[str, ...]:
    """The parameters of a layer that enter products; none of layers that use them otherwise."""
    if type(part).forward in (nn.Linear.forward, nn.Conv2d.forward):
        return ("weight", "bias")
    return ("in_proj_weight", "in_proj_bias") if isinstance(part, nn.MultiheadAttention) else ()


def resolve_compute(device: str = "auto", precision: str = "auto") -> Compute:
    """Choose device and precision.

    Args:
        device: `auto` (CUDA, else MPS, else CPU), `cpu`, `mps`, `cuda` or `cuda:N`.
        precision: `auto` is bf16 on CUDA devices that have it (else fp16), bf16 on processors
            with native bf16 products, fp32 elsewhere.

    Raises:
        RecosegError: The device does not exist here or the precision is unknown.
    """
    if device == "auto":
        device = "cpu"
        if torch.cuda.is_available():
            device = "cuda"
        elif torch.backends.mps.is_available():
            device = "mps"
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise RecosegError(
            f"Unknown device {device!r}. Expected auto, cpu, mps, cuda or cuda:N."
        ) from error
    _check_present(chosen)
    if precision == "auto":
        precision = _best_precision(chosen)
    if precision not in _DTYPES:
        raise RecosegError(f"Unknown precision {precision!r}. Expected auto, fp32, bf16 or fp16.")
    return Compute(chosen, _DTYPES[precision])


def _check_present(device: torch.device) -> None:
    present = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not present.get(device.type, False):
        raise RecosegError(
            f"Device {str(device)!r} is not available on this machine. Use --device auto or cpu."
        )


def _best_precision(device: torch.device) -> str:
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device.type == "cpu" and has_bfloat16():
        return "bf16"
    return "fp32"
