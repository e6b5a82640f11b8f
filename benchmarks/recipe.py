"""Seconds per photo and peak memory of each row of `recoseg ablate recipe`.

    python benchmarks/recipe.py INDEX CLASSES PHOTOS --phi lite --phi timm:deit_tiny_patch16_224

Each row segments the photos in a process of its own: banks are learnt before, the first photos warm
it up, and the peak of memory is that of the whole process.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from measuring import machine, peak_bytes, print_head, print_row, printed_by, seconds

from recoseg.allocator import keep_freed_memory
from recoseg.config import PAPER_RECIPE
from recoseg.device import resolve_compute
from recoseg.encoders.bundle import load_encoders
from recoseg.experiments.runner import learn_banks
from recoseg.experiments.studies import Baseline, study
from recoseg.experiments.study import StudyRow
from recoseg.learning.feature_cache import FeatureCache
from recoseg.memory.region_memory import open_memory
from recoseg.pipeline.ablate import setup_of
from recoseg.pipeline.classes import as_classes
from recoseg.pipeline.index import open_index
from recoseg.pipeline.learn import choose_encoders
from recoseg.pipeline.segment import open_segmenter
from recoseg.pipeline.voting import voting_of

WARM_UP = 8


def photos_of(folder: Path, count: int) -> list[Path]:
    """The first photos below a folder."""
    found = (p for p in sorted(folder.rglob("*")) if p.suffix.lower() in (".jpg", ".png"))
    return list(found)[:count]


def rows_of(options: argparse.Namespace) -> tuple[StudyRow, ...]:
    """The rows of the study, with the encoders and the memory that are given."""
    compute = resolve_compute("cpu", options.precision)
    archive = open_index(options.index)
    chosen = choose_encoders(archive, None, options.preset, phi=options.phi, recipe=PAPER_RECIPE)
    encoders = load_encoders(**chosen, precision=options.precision, device="cpu")
    alone = replace(encoders, phi=encoders.phi[:1])
    several = setup_of(archive, encoders, options.k) if len(encoders.phi) > 1 else None
    base = Baseline(
        (setup_of(archive, alone, options.k),),
        tuple(as_classes(options.classes)),
        together=several,
        voting=voting_of(options.regions, None, None, compute),
        memory=None if options.memory is None else open_memory(options.memory),
    )
    return study("recipe", base).rows


def measure(options: argparse.Namespace) -> None:
    """Segment the photos by one row and print seconds per photo and the peak of memory, MB."""
    chosen: dict[str, Any] = json.loads(options.row)
    segmenter = open_segmenter(device="cpu", precision=options.precision, **chosen)
    photos = photos_of(options.photos, options.count)
    list(segmenter.stream(photos[:WARM_UP]))
    spent = seconds(lambda: list(segmenter.stream(photos)), options.repeats)
    print(spent / len(photos), peak_bytes() / 1e6)


def main() -> None:
    """Print one line for each row."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("index", type=Path)
    parser.add_argument("classes", type=Path, help="file of classes")
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("--phi", action="append", help="as in `recoseg ablate`")
    parser.add_argument("--preset")
    parser.add_argument("--memory")
    parser.add_argument("--regions", default="superpixels")
    parser.add_argument("-k", type=int)
    parser.add_argument("--count", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cache", type=Path, help="features of archive photos, for the next run")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    if options.row:
        measure(options)
        return
    rows = rows_of(options)
    count = len(photos_of(options.photos, options.count))
    precision = resolve_compute("cpu", options.precision).precision
    cache = FeatureCache.open(options.cache, 10.0, precision)
    banks = learn_banks(rows, cache=cache, progress=None)
    print(f"{machine(options.threads)}, {precision}\n")
    print(f"{count} photos, {len(rows[0].classes)} classes\n")
    print_head(("row", "s per photo", "peak MB"))
    with tempfile.TemporaryDirectory() as folder:
        files = {key: Path(folder) / f"{n}.safetensors" for n, key in enumerate(banks)}
        for key, file in files.items():
            banks[key].save(file)
        for row in rows:
            given = {
                "source": str(files[row.bank_key]),
                "fusion": row.fusion.form,
                "refine": row.refine.form,
                "regions": None if row.voting is None else options.regions,
                "memory": None if row.memory is None else options.memory,
            }
            shared = ("--count", options.count, "--repeats", options.repeats)
            shared += ("--precision", options.precision, "--threads", options.threads)
            places = (options.index, options.classes, options.photos)
            spent, peak = printed_by(__file__, *places, "--row", json.dumps(given), *shared)
            print_row((row.label, f"{float(spent):.3f}", f"{float(peak):.0f}"))


if __name__ == "__main__":
    main()
