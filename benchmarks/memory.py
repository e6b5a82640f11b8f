"""Time of building a region memory, of searching it and of scoring with it, in the same run.

Usage: python benchmarks/memory.py [--photos FOLDER] [--count 600] [--peer-faiss]
       [--search 65000x352 1000000x768] [--queries 40 100 1000]

Building: photos/s of `remember` with `lite` and regions `clusters` beside those of `index` with
`lite`, without loading the models; as other work on the machine disturbs both, processor time
is printed as well. Search: exact search of query regions among synthetic rows beside one bare
product of the same matrices in fp32 and in bf16 and beside faiss's flat index, which is loaded
already; rows and queries lie around 2,000 common centres, as regions of photos do. Scoring: search
of 40 query regions and the scores of 20 classes from what was found, for one photo alone and for
eight at once.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from measuring import alternately, machine, print_head, print_row
from torch import Tensor

from recoseg.allocator import keep_freed_memory
from recoseg.archive.worker import ShardWorker
from recoseg.device import resolve_compute
from recoseg.encoders.encoder_table import build_retrieval
from recoseg.memory.nearest import nearest
from recoseg.memory.scores import memory_scores
from recoseg.photos.refs import Photo
from recoseg.pipeline.index import build_index
from recoseg.pipeline.remember import region_worker, remember

K = 20
CENTRES = 2000


def vectors(count: int, dim: int, seed: int) -> Tensor:
    """Unit vectors around common centres, fp32."""
    shared = torch.Generator().manual_seed(0)
    centres = F.normalize(torch.randn(CENTRES, dim, generator=shared), dim=1)
    own = torch.Generator().manual_seed(seed)
    found = torch.empty(count, dim)
    for first in range(0, count, 65_536):
        part = found[first : first + 65_536]
        noise = torch.randn(part.shape, generator=own) / dim**0.5
        chosen = torch.randint(0, CENTRES, (len(part),), generator=own)
        part.copy_(F.normalize(centres[chosen] + noise, dim=1))
    return found


def both_times(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of the processor."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - cpu


def building(folder: Path, count: int) -> None:
    """Print the rates of indexing and remembering."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".png"))
    compute = resolve_compute("auto", "auto")
    encoder = build_retrieval("lite", compute)
    described = region_worker(
        ["lite"],
        ["lite"],
        "clusters",
        size=224,
        device="auto",
        precision="auto",
        batch_size=32,
        threads=None,
    )
    first = [Photo(str(path)) for path in paths[:64]]
    ShardWorker(encoder, compute.precision)(first, lambda *_, **__: None)
    described(first, lambda *_, **__: None)
    with tempfile.TemporaryDirectory() as place:
        listing = Path(place) / "photos.txt"
        listing.write_text("\n".join(str(path.resolve()) for path in paths[:count]))
        indexing = both_times(
            lambda: build_index(
                listing, f"{place}/index", retrieval=encoder, precision=compute.precision
            )
        )
        remembering = both_times(lambda: remember(f"{place}/index", f"{place}/memory"))
    print_head(["stage", "photos/s", "ms of the processor per photo"])
    for name, (clock, cpu) in (("index", indexing), ("remember", remembering)):
        print_row([name, f"{count / clock:.1f}", f"{1000 * cpu / count:.1f}"])
    ratios = (indexing[0] / remembering[0], indexing[1] / remembering[1])
    print(f"\nremember / index: {ratios[0]:.2f} by the clock, {ratios[1]:.2f} by the processor\n")


def searching(sizes: list[str], queries: list[int], with_faiss: bool, repeats: int) -> None:
    """Print the times of search and of its peers."""
    columns = ["rows", "queries", "ours ms", "fp32 product ms", "bf16 product ms", "faiss flat ms"]
    print_head([*columns, "same"])
    for size in sizes:
        count, dim = map(int, size.split("x"))
        stored = vectors(count, dim, 1).half()
        index = _flat(stored.numpy()) if with_faiss else None
        for asked in queries:
            print_row([size, asked, *_times(stored, vectors(asked, dim, 2), index, repeats)])
    print()


def search(rows: np.ndarray, wanted: Tensor) -> list:
    """The search of a memory whose rows are in the memory of this process."""
    return nearest([(0, rows)], lambda at: torch.from_numpy(rows[at].astype("f4")), wanted, K)


def scoring(size: str, repeats: int) -> None:
    """Print the time per photo of search and scores."""
    count, dim = map(int, size.split("x"))
    rows = vectors(count, dim, 1).half().numpy()
    values = vectors(count, 512, 3).half()
    words = [(vectors(1, 512, 10 + item), None) for item in range(20)]

    def score(photos: int) -> None:
        found = search(rows, vectors(40 * photos, dim, 2))
        positions = torch.stack([ranking.positions for ranking in found])
        memory_scores([values[positions]], [words])

    print_head(["rows", "photos at once", "ms per photo"])
    for photos in (1, 8):
        [best] = alternately([partial(score, photos)], repeats)
        print_row([size, photos, f"{1000 * best / photos:.1f}"])


def _times(stored: Tensor, wanted: Tensor, index: Any, repeats: int) -> list[str]:
    """Milliseconds of the search and its peers, and the share of equal positions."""
    rows = stored.numpy()
    runs = [
        lambda: search(rows, wanted),
        lambda: _product(stored, wanted, torch.float32),
        lambda: _product(stored, wanted, torch.bfloat16),
    ]
    if index is None:
        return [*(f"{1000 * value:.1f}" for value in alternately(runs, repeats)), "-", "-"]
    times = alternately([*runs, lambda: index.search(wanted.numpy(), K)], repeats)
    theirs = index.search(wanted.numpy(), K)[1]
    mine = np.stack([found.positions.numpy() for found in search(rows, wanted)])
    return [*(f"{1000 * value:.1f}" for value in times), f"{(mine == theirs).mean():.4f}"]


def _product(stored: Tensor, wanted: Tensor, dtype: torch.dtype) -> None:
    """One product in parts, rows converted first, which is timed as well."""
    for part in torch.split(stored, 65_536):
        torch.mm(part.float().to(dtype), wanted.T.to(dtype))


def _flat(rows: np.ndarray) -> Any:
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    index = faiss.IndexFlatIP(rows.shape[1])
    for first in range(0, len(rows), 65_536):
        index.add(rows[first : first + 65_536].astype(np.float32))
    return index


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos; without it, none are read")
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--search", nargs="*", default=["65000x352", "1000000x768"])
    parser.add_argument("--queries", type=int, nargs="+", default=[40, 100, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peer-faiss", action="store_true", help="compare with faiss's flat index")
    given = parser.parse_args()
    keep_freed_memory()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{machine(torch.get_num_threads())}; load {load}\n")
    if given.photos:
        building(given.photos, given.count)
    if given.search:
        searching(given.search, given.queries, given.peer_faiss, given.repeats)
        scoring(given.search[0], given.repeats)


if __name__ == "__main__":
    main()
