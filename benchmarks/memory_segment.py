"""Photos per second of segmentation with a memory, beside segmentation without one.

    python benchmarks/memory_segment.py PHOTOS [--count 64] [--regions 100000 1000000]

An index, a bank of eight classes and a memory are made of the photos with `lite`. The memory is
then filled up to a number of regions with noisy copies of its own rows, so that a search finds as
many near candidates as in a large archive of like photos. `search` is the search alone, of as many
query regions as the photos have, eight photos at a time as in segmentation.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from measuring import alternately, machine, print_head, print_row

import recoseg
from recoseg.allocator import keep_freed_memory
from recoseg.cores import share_cores
from recoseg.memory.layout import RegionRows, write_shard
from recoseg.memory.region_memory import RegionMemory
from recoseg.photos.refs import Photo

CLASSES = "dog, cat, bird, car, building, tree, flower, person"
SHARD = 65_536
QUERIES = 8
"""Number of query regions of a photo; about as many as `lite` finds in one."""
NEAR = 0.1
"""Length of the noise that is added to a copied row of length 1."""


def noisy(rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Copies of unit rows with noise, unit again, float16."""
    noise = generator.standard_normal(rows.shape, np.float32)
    found = rows.astype(np.float32) + NEAR * noise / rows.shape[1] ** 0.5
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).astype(np.float16)


def fill(root: Path, own: RegionRows, regions: int) -> None:
    """Add shards of noisy copies until a memory has a number of regions."""
    memory = RegionMemory.open(root)
    number, have = memory.summary().shards, len(memory)
    generator = np.random.default_rng(number)
    while have < regions:
        count = min(SHARD, regions - have)
        chosen = generator.integers(0, len(own.keys), count)
        rows = RegionRows(
            (Photo(f"copy-{number}.jpg", width=1, height=1),),
            (f"{number:032x}",),
            np.array([count]),
            noisy(own.keys[chosen], generator),
            noisy(own.values[chosen], generator),
            own.areas[chosen],
            own.boxes[chosen],
        )
        write_shard(root, number, rows, None)
        number, have = number + 1, have + count


def searching(memory: RegionMemory, photos: int) -> Callable[[], None]:
    """Search for as many regions as the photos have, those of eight photos at a time."""
    keys = memory.embeddings(range(QUERIES * photos))
    spans = memory.manifest.key_spans
    parts = [
        {name: F.normalize(part[:, span], dim=1) for name, span in spans.items()}
        for part in torch.split(keys, 8 * QUERIES)
    ]

    def run() -> None:
        for part in parts:
            memory.search(part)

    return run


def main() -> None:
    """Print one row without a memory, and one for each size of the memory."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=64)
    parser.add_argument("--regions", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=2)
    options = parser.parse_args()
    share_cores()
    keep_freed_memory()
    paths = sorted(options.photos.rglob("*.jpg"))[: options.count]
    print(f"{machine(torch.get_num_threads())}\n")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        listing = work / "photos.txt"
        listing.write_text("\n".join(str(path.resolve()) for path in paths))
        index = recoseg.build_index(listing, work / "index", preset="lite")
        bank = recoseg.learn(index, CLASSES.split(", "), k=min(20, len(paths)))
        root = work / "memory"
        recoseg.remember(index, root)
        own = next(RegionMemory.open(root).shard_rows())
        columns = ["regions", "GB of keys", "photos/s", "of those without", "search, ms per photo"]
        print_head(columns)
        plain = recoseg.open_segmenter(bank)

        def segment(segmenter: Callable) -> None:
            for _ in segmenter(paths):
                pass

        segment(plain)
        [alone] = alternately([partial(segment, plain)], options.repeats)
        print_row(["none", "-", f"{len(paths) / alone:.1f}", "1.00", "-"])
        for regions in options.regions:
            fill(root, own, regions)
            memory = RegionMemory.open(root)
            filled = recoseg.open_segmenter(bank, memory=root, fusion="sum")
            segment(filled)
            without, with_it, searched = alternately(
                [
                    partial(segment, plain),
                    partial(segment, filled),
                    searching(memory, len(paths)),
                ],
                options.repeats,
            )
            size = len(memory) * memory.manifest.key_dim * 2 / 1e9
            rate = f"{len(paths) / with_it:.1f}"
            share = f"{without / with_it:.2f}"
            per_photo = f"{1000 * searched / len(paths):.1f}"
            print_row([f"{len(memory):,}", f"{size:.2f}", rate, share, per_photo])


if __name__ == "__main__":
    main()
