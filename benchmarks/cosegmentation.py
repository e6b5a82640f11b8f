"""Time and peak memory of `cosegment` compared with the literal formula, in the same run.

Usage: python benchmarks/cosegmentation.py [--threads 2] [--repeats 5] [--device cpu]

The literal formula computes the whole adjacency matrix, scales its columns and takes the maxima
of each image's block. The floor is the time of the matrix products of half of the pairs at the
machine's matrix rate, which is the faster of PyTorch's two ways to multiply, measured on matrices
that fit the cache.
"""

from __future__ import annotations

import argparse

import torch
import torch.nn.functional as F
from measuring import alternately, in_a_process, machine, peak_bytes, print_head, print_row, seconds
from torch import Tensor

from recoseg.cosegmentation import cosegment

IMAGES, CHANNELS = 50, 384
LITERAL_UP_TO = 384  # pixels; the literal formula takes over 20 GB at 512
COLUMNS = (
    "pixels", "weights", "literal s", "ours s", "ratio", "floor s", "ours / floor",
    "literal MB", "ours MB",
)  # fmt: skip


def literal(features: Tensor, weights: Tensor | None) -> Tensor:
    """Support scores by the formula as published, with the adjacency matrix in memory."""
    k, channels, h, w = features.shape
    flat = F.normalize(features, dim=1).permute(1, 0, 2, 3).reshape(channels, -1)
    adjacency = flat.T @ flat
    if weights is not None:
        adjacency *= weights.flatten()
    return adjacency.view(-1, k, h * w).amax(2).mean(1).view(k, h, w)


def matrix_rate(device: str, repeats: int = 200) -> float:
    """The best FLOP/s of this machine in fp32, by matrix products or 1 x 1 convolutions."""
    rows, images, size = 192, 16, 192
    filters = torch.randn(rows, CHANNELS, 1, 1, device=device)
    photos = torch.randn(images, CHANNELS, size, 1, device=device)
    photos = photos.contiguous(memory_format=torch.channels_last)
    left = torch.randn(images * size, CHANNELS, device=device)
    ways = (lambda: left @ filters[:, :, 0, 0].T, lambda: F.conv2d(photos, filters))
    return 2 * rows * images * size * CHANNELS / min(alternately(ways, repeats, device))


def print_peak(method: str, side: int) -> None:
    """Print the peak memory of one call beyond its features, MB, in this process (CPU)."""
    call = cosegment if method == "ours" else literal
    call(torch.randn(2, CHANNELS, 3, 3), torch.rand(2, 3, 3))
    features = torch.randn(IMAGES, CHANNELS, side, side)
    weights = torch.rand(IMAGES, side, side)
    before = peak_bytes()
    call(features, weights)
    print((peak_bytes() - before) / 1e6)


def compare(pixels: int, weighted: bool, options: argparse.Namespace, rate: float) -> None:
    """Print one row of the table."""
    side, device = pixels // 16, options.device
    features = torch.randn(IMAGES, CHANNELS, side, side, device=device)
    weights = torch.rand(IMAGES, side, side, device=device) if weighted else None
    repeats = options.repeats if pixels <= 224 else max(2, options.repeats // 4)
    n = IMAGES * side * side
    floor = n * n * CHANNELS / rate
    runs = [lambda: cosegment(features, weights), lambda: literal(features, weights)]
    runs[0]()
    with torch.no_grad():
        if pixels <= LITERAL_UP_TO:
            ours, theirs = alternately(runs, repeats, device)
            literal_s, ratio = f"{theirs:.2f}", f"{theirs / ours:.1f}"
        else:
            ours, literal_s, ratio = seconds(runs[0], repeats, device), "-", "-"
    memory = {"literal": "-", "ours": "-"}
    if device == "cpu" and weighted:
        for method in memory:
            if method == "ours" or pixels <= LITERAL_UP_TO:
                arguments = ("--peak", method, "--side", side, "--threads", options.threads)
                memory[method] = f"{in_a_process(__file__, *arguments):.0f}"
    times = (literal_s, f"{ours:.3f}", ratio, f"{floor:.3f}", f"{ours / floor:.2f}")
    print_row((pixels, "yes" if weighted else "no", *times, *memory.values()))


def main() -> None:
    """Print one row for each size, with and without weights."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--pixels", type=int, nargs="*", default=[224, 384, 512])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--peak", choices=["ours", "literal"], help=argparse.SUPPRESS)
    parser.add_argument("--side", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    if options.peak:
        print_peak(options.peak, options.side)
        return
    rate = matrix_rate(options.device)
    print(f"{machine(options.threads, options.device)}\n")
    print(f"{IMAGES} images, {CHANNELS} dimensions, fp32; matrix rate {rate / 1e9:.0f} GFLOP/s\n")
    print_head(COLUMNS)
    for pixels in options.pixels:
        for weighted in (False, True):
            compare(pixels, weighted, options, rate)


if __name__ == "__main__":
    main()
