"""The device and precision of the encoders."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import torch
from torch import nn

from recoseg.errors import OptionError, RecosegError
from recoseg.onednn import OneDnnProducts, has_bfloat16

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Compute:
    """A device and the precision of the encoders' forward passes.

    Matrix products and convolutions run in `dtype` through autocast. Every encoder returns fp32.

    Attributes:
        device: The device of models and features.
        dtype: fp32, or the half precision that autocast uses.
    """

    device: torch.device
    dtype: torch.dtype

    @property
    def precision(self) -> str:
        """Short name of the precision, as recorded in manifests and banks."""
        return next(name for name, dtype in _DTYPES.items() if dtype == self.dtype)

    def place(self, network: nn.Module) -> None:
        """Move a network to the device and freeze it, for forward passes within `autocast`.

        On a CPU, the weights of matrix products are rounded to `dtype` here. Autocast would round
        them in every pass, and PyTorch's attention copies such weights for each token: ViT-B/32
        reached 36 photos/s in batches of 64 and 16 in batches of 16, instead of 63 and 70.
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
        """The context for forward passes: half precision, or faster fp32 products on the CPU."""
        if self.dtype == torch.float32:
            return OneDnnProducts() if self.device.type == "cpu" else nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)


def _of_products(part: nn.Module) -> tuple[str, ...]:
    """Names of a layer's parameters that are used in matrix products and nowhere else."""
    if type(part).forward in (nn.Linear.forward, nn.Conv2d.forward):
        return ("weight", "bias")
    return ("in_proj_weight", "in_proj_bias") if isinstance(part, nn.MultiheadAttention) else ()


def resolve_compute(device: str = "auto", precision: str = "auto") -> Compute:
    """Choose the device and precision.

    Args:
        device: `auto` (CUDA if available, else MPS, else CPU), `cpu`, `mps`, `cuda` or `cuda:N`.
        precision: `fp32`, `bf16`, `fp16` or `auto`: bf16 on CUDA devices that support it (fp16 on
            others), bf16 on CPUs that multiply bf16 natively, and fp32 elsewhere.

    Raises:
        RecosegError: The device is not available on this machine, or the precision is unknown.
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
        raise OptionError(
            f"Unknown device {device!r}. Expected auto, cpu, mps, cuda or cuda:N."
        ) from error
    _check_present(chosen)
    if precision == "auto":
        precision = _best_precision(chosen)
    if precision not in _DTYPES:
        raise OptionError(f"Unknown precision {precision!r}. Expected auto, fp32, bf16 or fp16.")
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


@contextmanager
def leave_threads(count: int) -> Iterator[None]:
    """Let the steps of torch use fewer threads, for other threads of this process.

    Args:
        count: How many threads to leave; torch keeps at least one.
    """
    usual = torch.get_num_threads()
    torch.set_num_threads(max(1, usual - count))
    try:
        yield
    finally:
        torch.set_num_threads(usual)
