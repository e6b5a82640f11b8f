"""Correctness and speed of each stage on a GPU, beside the CPU or the floor, in one run.

    python benchmarks/gpu.py [--device cuda] [--small] [--stages kernel pamr ...]

Weights are random, photos are made up, and nothing is downloaded: only time and agreement are
measured. `--small` is for seeing that the stages work, on any device.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from measuring import machine, print_head, print_row, seconds
from PIL import Image

from recoseg.allocator import keep_freed_memory
from recoseg.cosegmentation import cosegment
from recoseg.refinement.pamr import pamr


@dataclass(frozen=True)
class Sizes:
    """How much each stage does."""

    pixels: tuple[int, ...] = (224, 384, 512)
    images: int = 50
    refined: int = 320
    rows: int = 500_000
    photos: int = 1000
    batch: int = 64
    retrieval: str = "ViT-L/14@336px=random"
    saliency: str = "ViT-B/16=random"
    phi: str = "dinov2-b14=random"
    student: str = "resnet101"
    crop: int = 320
    steps: int = 20
    repeats: int = 5


SMALL = Sizes(
    pixels=(64,),
    images=4,
    refined=64,
    rows=2000,
    photos=6,
    batch=2,
    retrieval="lite0",
    saliency="lite0",
    phi="lite0",
    student="resnet18",
    crop=64,
    steps=1,
    repeats=1,
)


@dataclass(frozen=True)
class Bench:
    """Where the stages run, and how large they are."""

    device: str
    sizes: Sizes
    folder: Path

    def seconds(self, run: Callable[[], object]) -> float:
        """Seconds of the fastest of several runs, after one that warms up."""
        seconds(run, 1, self.device)
        return seconds(run, self.sizes.repeats, self.device)

    def photos(self) -> Path:
        """A folder of made-up photos of 640 x 480."""
        folder = self.folder / "photos"
        if not folder.exists():
            folder.mkdir()
            generator = torch.Generator().manual_seed(0)
            for number in range(self.sizes.photos):
                coarse = torch.randint(0, 256, (9, 12, 3), generator=generator, dtype=torch.uint8)
                photo = Image.fromarray(coarse.numpy()).resize((640, 480), Image.Resampling.BICUBIC)
                photo.save(folder / f"{number:05}.jpg")
        return folder


def kernel(bench: Bench) -> None:
    """Co-segmentation: agreement with fp32 on the CPU, time, and the floor of its products."""
    from cosegmentation import CHANNELS, literal, matrix_rate

    print_head(("pixels", "ms", "formula ms", "floor ms", "support differs by", "same seeds"))
    rate = matrix_rate(bench.device)
    for pixels in bench.sizes.pixels:
        side = pixels // 16
        features = torch.randn(bench.sizes.images, CHANNELS, side, side)
        weights = torch.rand(bench.sizes.images, side, side)
        here = features.to(bench.device), weights.to(bench.device)
        ours = bench.seconds(partial(cosegment, *here))
        # Above 384 pixels the matrix of the formula takes more than 20 GB.
        formula = f"{1000 * bench.seconds(partial(literal, *here)):.1f}" if pixels <= 384 else "-"
        floor = (bench.sizes.images * side**2) ** 2 * CHANNELS / rate
        found, expected = cosegment(*here).cpu(), cosegment(features, weights)
        differs = (found.support - expected.support).abs().max().item()
        same = (found.seeds == expected.seeds).all(-1).float().mean().item()
        times = (f"{1000 * ours:.1f}", formula, f"{1000 * floor:.1f}")
        print_row((pixels, *times, f"{differs:.1e}", f"{same:.1%}"))


def refining(bench: Bench) -> None:
    """PAMR: agreement with the CPU, and time per photo."""
    from refinement import scene

    print_head(("classes", "ms", "CPU ms", "differs by"))
    for classes in (27, 171):
        photos, probs = scene(1, classes, bench.sizes.refined)
        here = probs.to(bench.device), photos.to(bench.device)
        differs = (pamr(*here).cpu() - pamr(probs, photos)).abs().max().item()
        times = [
            1000 * bench.seconds(partial(pamr, *here)),
            1000 * seconds(partial(pamr, probs, photos), 2),
        ]
        print_row((classes, *(f"{value:.1f}" for value in times), f"{differs:.1e}"))


def regions(bench: Bench) -> None:
    """Search of 100 regions in a memory, beside one product on the CPU and on the device."""
    from memory import product, search, vectors

    stored, wanted = vectors(bench.sizes.rows, 384, 1).half(), vectors(100, 384, 2)
    there = stored.to(bench.device), wanted.to(bench.device)
    runs = {
        "search": partial(search, stored.numpy(), wanted),
        "product, CPU, fp32": partial(product, stored.numpy(), wanted, torch.float32),
        f"product, {bench.device}, fp16": lambda: torch.mm(there[0], there[1].half().T),
    }
    print_head((f"{bench.sizes.rows:,} rows of 384", "ms"))
    for name, run in runs.items():
        print_row((name, f"{1000 * bench.seconds(run):.1f}"))


def indexing(bench: Bench) -> None:
    """Index of photos, beside the bare forward pass."""
    from recoseg.device import resolve_compute
    from recoseg.encoders.encoder_table import build_retrieval
    from recoseg.pipeline.index import build_index

    compute = resolve_compute(bench.device)
    encoder = build_retrieval(bench.sizes.retrieval, compute)
    side, batch = encoder.frame.size, bench.sizes.batch
    images = torch.randint(0, 256, (batch, 3, side, side), dtype=torch.uint8)
    bare = batch / bench.seconds(lambda: encoder.embed_images(images).cpu())
    made = build_index(
        bench.photos(),
        bench.folder / "index",
        retrieval=encoder,
        precision=compute.precision,
        batch_size=batch,
    )
    rate = made.report.new / made.report.seconds
    print_head((f"{bench.sizes.retrieval}, {compute.precision}", "photos/s", "bare", "share"))
    print_row(("index", f"{rate:.1f}", f"{bare:.1f}", f"{rate / bare:.2f}"))


def learning(bench: Bench) -> None:
    """A bank of eight classes from the index, and photos segmented with it."""
    from recoseg.device import resolve_compute
    from recoseg.encoders.bundle import Encoders
    from recoseg.encoders.encoder_table import build_phi, build_retrieval, build_saliency
    from recoseg.pipeline.learn import learn
    from recoseg.pipeline.segment import open_segmenter

    compute = resolve_compute(bench.device)
    encoders = Encoders(
        build_retrieval(bench.sizes.retrieval, compute),
        build_saliency(bench.sizes.saliency, compute),
        (build_phi(bench.sizes.phi, compute),),
    )
    names = ["dog", "cat", "bird", "car", "building", "tree", "flower", "person"]
    start = time.perf_counter()
    bank = learn(bench.folder / "index", names, encoders=encoders, device=bench.device)
    learnt = time.perf_counter() - start
    segmenter = open_segmenter(
        bank, phi=list(encoders.phi), saliency=encoders.saliency, device=bench.device
    )
    paths = sorted(bench.photos().iterdir())[:200]
    spent = bench.seconds(lambda: list(segmenter(paths)))
    print_head(("what", "s", "photos/s"))
    used = {photo.photo_id for concept in bank.concepts for photo in concept.retrieved}
    print_row((f"learn, {len(names)} classes", f"{learnt:.1f}", f"{len(used) / learnt:.1f}"))
    print_row(("segment", f"{spent:.1f}", f"{len(paths) / spent:.1f}"))


def training(bench: Bench) -> None:
    """Steps of DeepLabv3+ in mixed precision."""
    import training as script

    options = argparse.Namespace(
        device=bench.device,
        precisions="bf16",
        encoder=bench.sizes.student,
        output_stride=8,
        batch_size=min(8, bench.sizes.batch),
        crop=bench.sizes.crop,
        classes=27,
        warm_up=1,
        steps=bench.sizes.steps,
    )
    script.train(options)


STAGES = (kernel, refining, regions, indexing, learning, training)


def main() -> int:
    """Run the stages; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--small", action="store_true")
    names = [stage.__name__ for stage in STAGES]
    parser.add_argument("--stages", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    print(f"{machine(torch.get_num_threads(), options.device)}\n", flush=True)
    failed = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.device, SMALL if options.small else Sizes(), Path(folder))
        for stage in STAGES:
            if stage.__name__ not in options.stages:
                continue
            print(f"\n## {stage.__name__}: {stage.__doc__}\n", flush=True)
            start = time.perf_counter()
            try:
                stage(bench)
            except Exception:  # the other stages can still be measured
                failed.append(stage.__name__)
                traceback.print_exc(file=sys.stdout)
            print(f"\n({time.perf_counter() - start:.0f} s)", flush=True)
    if failed:
        print(f"\nFailed: {', '.join(failed)}.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
