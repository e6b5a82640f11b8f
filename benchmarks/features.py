"""Photos per second of the dense encoders, compared with one photo at a time and with the floor.

    python benchmarks/features.py --encoders saliency:RN50=random phi:deit-s16-sin=random

The peer is the published way: the encoder in fp32 with PyTorch alone, one photo at a time. The
floor is the time of the forward pass's products (counted by PyTorch) at the machine's matrix rate
in fp32 or bf16.
"""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from unittest.mock import patch

import torch
from measuring import alternately, machine, print_head, print_row
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from recoseg.allocator import keep_freed_memory
from recoseg.device import Compute
from recoseg.encoders.encoder_table import build_phi, build_saliency
from recoseg.encoders.protocols import DenseImageEncoder, DenseTextEncoder

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def build(name: str, compute: Compute) -> DenseImageEncoder | DenseTextEncoder:
    """Build the encoder that `ROLE:SPEC` names."""
    role, _, spec = name.partition(":")
    return build_phi(spec, compute) if role == "phi" else build_saliency(spec, compute)


def matrix_rate(dtype: torch.dtype) -> float:
    """The best FLOP/s of matrix products or 1 x 1 convolutions that fit the cache."""
    filters = torch.randn(384, 384, 1, 1, dtype=dtype)
    photos = torch.randn(16, 384, 196, 1, dtype=dtype).contiguous(memory_format=torch.channels_last)
    rows = torch.randn(16 * 196, 384, dtype=dtype)
    ways = (
        lambda: torch.nn.functional.conv2d(photos, filters),
        lambda: rows @ filters[:, :, 0, 0].T,
    )
    return 2 * len(rows) * 384 * 384 / min(alternately(ways, 100))


def flops(encoder: DenseImageEncoder | DenseTextEncoder, photos: Tensor) -> float:
    """FLOPs of the forward pass of one photo."""
    with FlopCounterMode(display=False) as counter:
        encoder.features(photos[:1])
    return float(counter.get_total_flops())


def photos_per_second(
    name: str, photos: Tensor, repeats: int
) -> tuple[float, dict[str, float], float]:
    """Rates one by one in fp32 and batched in each precision, and the FLOPs of a photo."""
    encoders = {p: build(name, Compute(torch.device("cpu"), d)) for p, d in DTYPES.items()}

    def one_by_one() -> None:
        with patch("recoseg.device.OneDnnProducts", nullcontext):
            for photo in photos:
                encoders["fp32"].features(photo[None])

    runs = [
        one_by_one,
        lambda: encoders["fp32"].features(photos.clone()),
        lambda: encoders["bf16"].features(photos.clone()),
    ]
    alternately(runs, 1)
    single, *batched = (len(photos) / seconds for seconds in alternately(runs, repeats))
    return single, dict(zip(DTYPES, batched, strict=True)), flops(encoders["bf16"], photos)


def main() -> None:
    """Print one row for each encoder and precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--encoders", nargs="+", default=["saliency:RN50=random", "phi:deit-s16-sin=random"]
    )
    parser.add_argument("--pixels", type=int, default=224)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    photos = torch.randint(0, 256, (options.batch, 3, *[options.pixels] * 2), dtype=torch.uint8)
    rates = {name: matrix_rate(dtype) for name, dtype in DTYPES.items()}
    print(f"{machine(options.threads)}\n")
    print(f"{options.pixels} pixels, batches of {options.batch}; matrix rates ", end="")
    print(", ".join(f"{name} {rate / 1e9:.0f} GFLOP/s" for name, rate in rates.items()), "\n")
    columns = ("encoder", "precision", "GFLOP/photo", "photos/s", "one by one", "ratio", "of floor")
    print_head(columns)
    for name in options.encoders:
        single, batched, work = photos_per_second(name, photos, options.repeats)
        for precision, rate in batched.items():
            share = work * rate / rates[precision]
            figures = (f"{rate:.0f}", f"{single:.0f}", f"{rate / single:.1f}", f"{share:.0%}")
            print_row((name, precision, f"{work / 1e9:.1f}", *figures))


if __name__ == "__main__":
    main()
