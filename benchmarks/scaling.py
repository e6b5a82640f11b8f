"""How time and memory of each stage grow: exponents of power laws, and plots of the points.

    python benchmarks/scaling.py [--plot docs/images/scaling.png] [--stages segment pamr ...]

Each point runs in a process of its own with one thread, after a small call that warms up: the
processor time of the call, the least of several if they are short, and how much the first call
raises the peak memory of the process. If something costs c n^e, its exponent e is the slope of a
line through the points on logarithmic axes; `last` is the slope between the last two. Photos are
made up, weights are those of `lite`, and nothing is downloaded.
"""

from __future__ import annotations

import argparse
import itertools
import math
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from measuring import machine, peak_bytes, print_head, print_row, printed_by
from PIL import Image

from recoseg.allocator import keep_freed_memory
from recoseg.refinement.refiner import RefineForm

Work = Callable[[], object]

ENOUGH = 3.0  # seconds; a call is repeated until that many are spent, or five times
REPEATS = 5


class Stage(NamedTuple):
    """What is measured: for a size, the call and a small one that warms up."""

    prepare: Callable[[int, Path], tuple[Work, Work]]
    grows: str
    sizes: tuple[int, ...]


def _photo(pixels: int) -> Image.Image:
    """A smooth photo of 4:3."""
    width = round(math.sqrt(pixels * 4 / 3))
    coarse = torch.randint(0, 256, (9, 12, 3), dtype=torch.uint8).numpy()
    size = (width, width * 3 // 4)
    return Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)


def index(photos: int, folder: Path) -> tuple[Work, Work]:
    """Indexing of photos of 480 x 360 with `lite`."""
    from recoseg.device import resolve_compute
    from recoseg.encoders.encoder_table import build_retrieval
    from recoseg.pipeline.index import build_index

    compute = resolve_compute("cpu")
    encoder = build_retrieval("lite", compute)
    for name, count in (("few", 64), ("many", photos)):
        (folder / name).mkdir()
        for place in range(count):
            _photo(480 * 360).save(folder / name / f"{place}.jpg")

    number = itertools.count()

    def run(name: str) -> object:
        return build_index(
            folder / name,
            folder / f"index_{next(number)}",
            retrieval=encoder,
            precision=compute.precision,
            batch_size=64,
        )

    return partial(run, "many"), partial(run, "few")


def cosegment(cells: int, folder: Path) -> tuple[Work, Work]:
    """Co-segmentation of 20 photos with this number of cells each, 384 dimensions."""
    from recoseg.cosegmentation import cosegment as ours

    side = math.isqrt(cells)
    return (
        partial(ours, torch.randn(20, 384, side, side), torch.rand(20, side, side)),
        partial(ours, torch.randn(2, 384, 4, 4), torch.rand(2, 4, 4)),
    )


def cosegment_photos(photos: int, folder: Path) -> tuple[Work, Work]:
    """Co-segmentation of this number of photos of 14 x 14 cells, 384 dimensions."""
    from recoseg.cosegmentation import cosegment as ours

    return (
        partial(ours, torch.randn(photos, 384, 14, 14), torch.rand(photos, 14, 14)),
        partial(ours, torch.randn(2, 384, 4, 4), torch.rand(2, 4, 4)),
    )


def _segmenting(pixels: int, classes: int, refine: RefineForm = "none") -> tuple[Work, Work]:
    from recoseg.device import resolve_compute
    from recoseg.segmentation.bank_segmenter import bank_segmenter
    from segmentation import build, random_bank

    phi, saliency = build("lite", resolve_compute("cpu"))
    segmenter, small = (
        bank_segmenter(random_bank(phi, saliency, n), phi=phi, saliency=saliency, refine=refine)
        for n in (classes, 2)
    )
    return partial(segmenter, _photo(pixels)), partial(small, _photo(320 * 240))


def segment(pixels: int, folder: Path) -> tuple[Work, Work]:
    """Segmentation of one photo into 21 classes by the published recipe."""
    return _segmenting(pixels, 21)


def segment_classes(classes: int, folder: Path) -> tuple[Work, Work]:
    """Segmentation of one photo of 640 x 480 by the published recipe."""
    return _segmenting(640 * 480, classes)


def segment_refined(pixels: int, folder: Path) -> tuple[Work, Work]:
    """Segmentation of one photo into 21 classes, refined by PAMR."""
    return _segmenting(pixels, 21, "pamr")


def refine_classes(classes: int, folder: Path) -> tuple[Work, Work]:
    """PAMR of 320 x 320 pixels."""
    from recoseg.refinement.pamr import pamr
    from refinement import scene

    photos, probs = scene(1, classes, 320)
    small = scene(1, 3, 64)
    return partial(pamr, probs, photos), partial(pamr, small[1], small[0])


def superpixels(pixels: int, folder: Path) -> tuple[Work, Work]:
    """Division of a photo into superpixels."""
    from recoseg.photos.images import to_tensor
    from recoseg.photos.refs import Photo
    from recoseg.regions.providers import provider_of

    divide = partial(provider_of("superpixels").regions, Photo(""))
    photo, small = to_tensor(_photo(pixels)), to_tensor(_photo(9000))
    return partial(divide, photo), partial(divide, small)


def _search(rows: int, classes: int, folder: Path) -> tuple[Work, Work]:
    from search import ours, write_vectors

    write_vectors(folder / "all", rows, 512)
    write_vectors(folder / "few", 4096, 512)
    return (
        partial(ours, folder / "all", 512, classes, 50),
        partial(ours, folder / "few", 512, classes, 50),
    )


def search(rows: int, folder: Path) -> tuple[Work, Work]:
    """Search for 30 classes, 512 dimensions."""
    return _search(rows, 30, folder)


def search_classes(classes: int, folder: Path) -> tuple[Work, Work]:
    """Search among 200,000 photos, 512 dimensions."""
    return _search(200_000, classes, folder)


def _regions(rows: int, queries: int) -> tuple[Work, Work]:
    from memory import search as ours
    from memory import vectors

    stored, wanted = vectors(rows, 384, 1).half().numpy(), vectors(queries, 384, 2)
    return partial(ours, stored, wanted), partial(ours, stored[:4096], wanted[:2])


def regions(rows: int, folder: Path) -> tuple[Work, Work]:
    """Search of 100 regions in a memory, 384 dimensions."""
    return _regions(rows, 100)


def regions_queries(queries: int, folder: Path) -> tuple[Work, Work]:
    """Search in a memory of 200,000 regions, 384 dimensions."""
    return _regions(200_000, queries)


PIXELS = (100_000, 400_000, 1_600_000, 6_400_000)
STAGES = {
    "index": Stage(index, "photos", (128, 256, 512)),
    "co-segment": Stage(cosegment, "cells per photo", (196, 400, 784, 1600)),
    "co-segment, photos": Stage(cosegment_photos, "photos", (12, 25, 50, 100)),
    "segment": Stage(segment, "pixels", PIXELS),
    "segment, classes": Stage(segment_classes, "classes", (10, 40, 160, 640)),
    "segment, PAMR": Stage(segment_refined, "pixels", PIXELS),
    "PAMR, classes": Stage(refine_classes, "classes", (10, 40, 160)),
    "superpixels": Stage(superpixels, "pixels", PIXELS[:3]),
    "search": Stage(search, "photos", (100_000, 200_000, 400_000)),
    "search, classes": Stage(search_classes, "classes", (4, 30, 250)),
    "region search": Stage(regions, "regions", (100_000, 200_000, 400_000)),
    "region search, queries": Stage(regions_queries, "queries", (20, 200, 2000)),
}


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """The exponent of the power law that fits best: least squares of the logarithms."""
    xs, ys = ([math.log(one) for one in row] for row in (sizes, values))
    middle, height = sum(xs) / len(xs), sum(ys) / len(ys)
    above = sum((x - middle) * (y - height) for x, y in zip(xs, ys, strict=True))
    return above / sum((x - middle) ** 2 for x in xs)


def point(stage: Stage, size: int) -> None:
    """Print the seconds of the call, and the bytes by which it raises the peak memory."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        work, small = stage.prepare(size, Path(folder))
        small()
        before = peak_bytes()
        spent = [_processor_time(work)]
        risen = peak_bytes() - before
        while sum(spent) < ENOUGH and len(spent) < REPEATS:
            spent.append(_processor_time(work))
        print(min(spent), risen)


def _processor_time(work: Work) -> float:
    """Seconds that all threads of this process compute during a call."""
    start = time.process_time()
    work()
    return time.process_time() - start


def plot(found: dict[str, tuple[list[float], list[float]]], path: Path) -> None:
    """Draw processor time and memory of all stages, relative to the first points."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, pair = pyplot.subplots(1, 2, figsize=(12, 4.5), layout="constrained")
    for axes, what, title in zip(pair, (0, 1), ("processor time", "memory"), strict=True):
        for place, (name, values) in enumerate(found.items()):
            sizes, ys = STAGES[name].sizes, values[what]
            if min(ys) <= 0:
                continue
            style = {"marker": "osD^vPX*ph<>"[place % 12], "color": f"C{place % 10}"}
            axes.loglog(
                [size / sizes[0] for size in sizes], [y / ys[0] for y in ys], label=name, **style
            )
        ends = [1, 64]
        axes.loglog(ends, ends, color="#999999", linestyle=":", label="linear")
        axes.set(xlabel="size, times the smallest", ylabel=f"{title}, times the smallest")
        axes.grid(which="major", color="#dddddd")
    figure.legend(*pair[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    figure.savefig(path, dpi=90)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stages", nargs="+", choices=list(STAGES), default=list(STAGES))
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--point", nargs=2, metavar=("STAGE", "SIZE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()
    if options.point:
        point(STAGES[options.point[0]], int(options.point[1]))
        return
    print(f"{machine(1)}\n")
    print_head(
        (
            "stage",
            "grows with",
            "sizes",
            "CPU seconds",
            "exponent",
            "last",
            "MB",
            "exponent",
            "last",
        )
    )
    found: dict[str, tuple[list[float], list[float]]] = {}
    for name in options.stages:
        stage = STAGES[name]
        points = [printed_by(__file__, "--point", name, size)[-2:] for size in stage.sizes]
        spent, peak = ([float(pair[part]) for pair in points] for part in (0, 1))
        found[name] = (spent, peak)
        cells = [name, stage.grows, ", ".join(f"{size:,}" for size in stage.sizes)]
        for values, form, unit in ((spent, "{:.3g}", 1), (peak, "{:.0f}", 1e6)):
            cells.append(", ".join(form.format(value / unit) for value in values))
            known = min(values) > 0
            cells.append(f"{slope(stage.sizes, values):.2f}" if known else "-")
            cells.append(f"{slope(stage.sizes[-2:], values[-2:]):.2f}" if known else "-")
        print_row(cells)
    if options.plot:
        plot(found, options.plot)


if __name__ == "__main__":
    main()
