"""Times `cosegment` beside the literal formula in the same run, and measures both peaks of memory.

Usage: python benchmarks/cosegmentation.py [--threads 2] [--repeats 5] [--device cpu]

The literal formula computes the whole adjacency matrix, scales its columns and takes the maxima
of each image's block. The floor is the bare matrix product of half of the pairs, in one call.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from recoseg.cosegmentation import cosegment

IMAGES, CHANNELS = 50, 384


def literal(features: Tensor, weights: Tensor | None) -> Tensor:
    """Support scores by the formula as published, with the adjacency matrix in memory."""
    k, channels, h, w = features.shape
    flat = F.normalize(features, dim=1).permute(1, 0, 2, 3).reshape(channels, -1)
    adjacency = flat.T @ flat
    if weights is not None:
        adjacency *= weights.flatten()
    return adjacency.view(-1, k, h * w).amax(2).mean(1).view(k, h, w)


def floor(features: Tensor) -> Callable[[], Tensor]:
    """The product of half of the pairs, written over and over into one small tile."""
    rows = features.flatten(2).transpose(1, 2).flatten(0, 1).contiguous()
    half = len(rows) // 2
    tile = rows.new_empty(128, len(rows))

    def run() -> Tensor:
        for start in range(0, half, 128):
            block = rows[start : min(start + 128, half)]
            torch.mm(block, rows.T, out=tile[: len(block)])
        return tile

    return run


def seconds(run: Callable[[], object], repeats: int, device: str) -> float:
    """The best of several runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def peak_mb(side: int, method: str, threads: int) -> float:
    """Peak memory of one call beyond its features, in a process of its own (CPU)."""
    command = [sys.executable, __file__, "--peak", method, "--side", str(side)]
    run = subprocess.run(
        [*command, "--threads", str(threads)], capture_output=True, text=True, check=True
    )
    return float(run.stdout)


def peak_bytes() -> int:
    """Peak memory of this program; unlike getrusage, without its parent's before exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def print_peak(method: str, side: int) -> None:
    """Measure this process and print megabytes."""
    call = cosegment if method == "ours" else literal
    call(torch.randn(2, CHANNELS, 3, 3), torch.rand(2, 3, 3))
    features = torch.randn(IMAGES, CHANNELS, side, side)
    weights = torch.rand(IMAGES, side, side)
    before = peak_bytes()
    call(features, weights)
    print((peak_bytes() - before) / 1e6)


def main() -> None:
    """Print one line per size and kind of weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak", choices=["ours", "literal"], help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.peak:
        print_peak(options.peak, options.side)
        return
    print(f"{IMAGES} images, {CHANNELS} dims, {options.threads} threads, {options.device}, fp32")
    print("pixels  weights  literal s  ours s  ratio  half-product s  literal MB  ours MB")
    for pixels in (224, 384):
        side = pixels // 16
        features = torch.randn(IMAGES, CHANNELS, side, side, device=options.device)
        weights = torch.rand(IMAGES, side, side, device=options.device)
        repeats = options.repeats if pixels == 224 else max(1, options.repeats // 2)
        lower = seconds(floor(features), repeats, options.device)
        for used in (None, weights):
            with torch.no_grad():
                theirs = seconds(lambda: literal(features, used), repeats, options.device)  # noqa: B023
            ours = seconds(lambda: cosegment(features, used), repeats, options.device)  # noqa: B023
            memory = (
                [f"{peak_mb(side, method, options.threads):.0f}" for method in ("literal", "ours")]
                if options.device == "cpu" and used is not None
                else ["-", "-"]
            )
            print(
                f"{pixels:6d}  {'no' if used is None else 'yes':7s}  {theirs:9.2f}  {ours:6.2f}  "
                f"{theirs / ours:5.1f}  {lower:14.2f}  {memory[0]:>10s}  {memory[1]:>7s}"
            )


if __name__ == "__main__":
    main()
