"""Time and memory of PAMR and the dense CRF compared with what they replace, in the same run.

Usage: python benchmarks/refinement.py [--side 320] [--classes 27 171] [--repeats 3]

PAMR is compared with its formula written out: for each dilation the neighbours of all classes are
copied by `unfold`, then multiplied by the affinities and summed. The CRF of a batch is compared
with the same images one after the other in this process. The formula is timed for zero steps and
for one step, and extrapolated to ten; it has the same classes. Memory is the peak beyond the
inputs, for one image, in a new process. Freed memory is kept, as on the command line.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from recoseg.allocator import keep_freed_memory
from recoseg.refinement.crf import CrfPool
from recoseg.refinement.pamr import PUBLISHED_DILATIONS, PUBLISHED_ITERATIONS, pamr

CELL = 16


def scene(images: int, classes: int, side: int) -> tuple[Tensor, Tensor]:
    """Make photos of coloured regions with noise, and probabilities up-sampled from coarse cells.

    Returns:
        images (n, 3, side, side), uint8, and probs (n, c, side, side), fp32.
    """
    torch.manual_seed(0)
    grid = side // CELL
    seeds = torch.rand(images, 12, 2)
    axis = (torch.arange(side) + 0.5) / side
    places = torch.stack(torch.meshgrid(axis, axis, indexing="ij"), -1).view(-1, 2)
    regions = torch.cdist(places.expand(images, -1, -1), seeds).argmin(2).view(images, side, side)
    colours = torch.randint(20, 236, (images, 12, 3))
    photos = torch.stack([c[r] for c, r in zip(colours, regions, strict=True)]).permute(0, 3, 1, 2)
    photos = (photos + 4 * torch.randn(photos.shape)).clamp(0, 255).to(torch.uint8)
    truth = F.one_hot(regions[:, CELL // 2 :: CELL, CELL // 2 :: CELL] % classes, classes)
    scores = 3.0 * truth.permute(0, 3, 1, 2) + torch.randn(images, classes, grid, grid)
    return photos, F.interpolate(scores, size=(side, side), mode="bilinear").softmax(1)


def literal_neighbours(maps: Tensor) -> Tensor:
    """All neighbours of all maps: (n, c, h, w) to (n, c, k, h, w)."""
    n, c, h, w = maps.shape
    copies = []
    for dilation in PUBLISHED_DILATIONS:
        padded = F.pad(maps, [dilation] * 4, mode="replicate").view(n * c, 1, h + 2 * dilation, -1)
        window = F.unfold(padded, 3, dilation=dilation).view(n, c, 9, h, w)
        copies += [window[:, :, :4], window[:, :, 5:]]
    return torch.cat(copies, 2)


def literal_pamr(probs: Tensor, images: Tensor, iterations: int = PUBLISHED_ITERATIONS) -> Tensor:
    """PAMR by its formula, written out."""
    images = images.float()
    neighbours = literal_neighbours(images)
    centres = images[:, :, None].expand(-1, -1, len(PUBLISHED_DILATIONS), -1, -1)
    deviation = torch.cat([neighbours, centres], 2).std(2, keepdim=True)
    ratio = (neighbours - images[:, :, None]).abs() / (1e-8 + 0.1 * deviation)
    weights = (-ratio.mean(1, keepdim=True)).softmax(2)
    for _ in range(iterations):
        probs = (literal_neighbours(probs) * weights).sum(2)
    return probs


def seconds(run: Callable[[], object], repeats: int) -> float:
    """Seconds of the fastest of several runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - start)
    return best


def peak_bytes() -> int:
    """Peak memory of this program; unlike getrusage, without the parent's peak before exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def print_peak(method: str, classes: int, side: int) -> None:
    """Print the peak memory of a method in this process, MB."""
    pool = CrfPool(1)
    once = partial(literal_pamr, iterations=1)
    run = {"pamr": pamr, "literal": once, "crf": pool}[method]
    run(*reversed(scene(1, 3, 32)))
    photos, probs = scene(1, classes, side)
    before = peak_bytes()
    run(probs, photos)
    print((peak_bytes() - before) / 1e6)


def peak_mb(method: str, classes: int, side: int) -> str:
    """Peak memory for one image beyond its inputs, measured in a new process."""
    command = [sys.executable, __file__, "--peak", method, "--side", str(side)]
    run = subprocess.run(
        [*command, "--classes", str(classes)], capture_output=True, text=True, check=False
    )
    return f"{float(run.stdout):,.0f}" if run.returncode == 0 else "-"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=320, help="a multiple of 16")
    parser.add_argument("--classes", type=int, nargs="+", default=[27, 171])
    parser.add_argument("--cores", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--images", type=int, default=4, help="batch of the CRF")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peak", choices=["pamr", "literal", "crf"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()
    if options.peak:
        print_peak(options.peak, options.classes[0], options.side)
        return
    print(f"Side {options.side}, fp32, CPU, published parameters; s and MB per image.\n")
    print("| method | classes | cores | s | compared with | its s | ratio | MB | its MB |")
    print("|---|---|---|---|---|---|---|---|---|")
    for classes in options.classes:
        memory = {m: peak_mb(m, classes, options.side) for m in ("pamr", "literal", "crf")}
        photos, probs = scene(options.images, classes, options.side)
        for cores in options.cores:
            torch.set_num_threads(cores)
            ours = seconds(lambda: pamr(probs[:1], photos[:1]), options.repeats)  # noqa: B023
            first, second = (
                seconds(lambda: literal_pamr(probs[:1], photos[:1], steps), 2)  # noqa: B023
                for steps in (0, 1)
            )
            theirs = first + PUBLISHED_ITERATIONS * (second - first)
            row = f"| PAMR | {classes} | {cores} | {ours:.2f} | formula by `unfold` | {theirs:.1f}"
            print(f"{row} | {theirs / ours:.0f} | {memory['pamr']} | {memory['literal']} |")
        torch.set_num_threads(1)
        alone = 0.0
        for cores in options.cores:
            with CrfPool(cores) as pool:
                pool(probs[:2], photos[:2])
                spent = seconds(lambda: pool(probs, photos), 1) / options.images  # noqa: B023
            alone = alone or spent
            row = f"| CRF | {classes} | {cores} | {spent:.2f} | one core | {alone:.2f}"
            print(f"{row} | {alone / spent:.1f} | {memory['crf']} | {memory['crf']} |")


if __name__ == "__main__":
    main()
