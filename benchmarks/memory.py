"""Time of building a region memory, of searching it and of scoring with it, in the same run.

Usage: python benchmarks/memory.py [--photos FOLDER] [--count 600]
       [--search 65000x352 1000000x768] [--queries 40 100 1000]
       [--peers read fp32 bf16 faiss faiss16] [--data FOLDER]

Building: photos/s of `remember` with `lite` and regions `clusters` beside those of `index` with
`lite`, without loading the models; as other work on the machine disturbs both, processor time
is printed as well. Search: exact search of query regions among synthetic rows in a mapped file of
fp16, beside one read of the file, one bare product of the same matrices in fp32 and in bf16 (which
reads the rows and converts them, too), and faiss's flat index in fp32 or fp16, which is loaded
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
from search import measured
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
from recoseg.storage.arrays import map_array

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


def stored_rows(folder: Path, size: str) -> np.ndarray:
    """Rows in a mapped file, fp16, which is written unless it is there."""
    count, dim = map(int, size.split("x"))
    path = folder / f"{size}.npy"
    if not path.exists():
        rows = np.lib.format.open_memmap(path, "w+", np.float16, (count, dim))
        for number, first in enumerate(range(0, count, 1_000_000)):
            part = rows[first : first + 1_000_000]
            part[:] = vectors(len(part), dim, 1 + 100 * number).half().numpy()
        rows.flush()
    return map_array(path, "c")[0]


def searching(
    folder: Path, sizes: list[str], queries: list[int], peers: list[str], repeats: int
) -> None:
    """Print the times of search and of its peers, in turns."""
    print_head(["rows", "queries", "ours ms", *(f"{peer} ms" for peer in peers), "MB", "same"])
    for size in sizes:
        rows = stored_rows(folder, size)
        index = next((_flat(rows, peer) for peer in peers if peer.startswith("faiss")), None)
        for asked in queries:
            wanted = vectors(asked, rows.shape[1], 2)
            works = {
                "read": lambda: _read(rows),  # noqa: B023
                "fp32": lambda: product(rows, wanted, torch.float32),  # noqa: B023
                "bf16": lambda: product(rows, wanted, torch.bfloat16),  # noqa: B023
                "faiss": lambda: index.search(wanted.numpy(), K),  # noqa: B023
                "faiss16": lambda: index.search(wanted.numpy(), K),  # noqa: B023
            }
            mine, _, megabytes = measured(search, rows, wanted)
            runs = [lambda: search(rows, wanted), *(works[peer] for peer in peers)]  # noqa: B023
            times = [f"{1000 * value:.0f}" for value in alternately(runs, repeats)]
            same = "-"
            if index is not None:
                theirs = index.search(wanted.numpy(), K)[1]
                found = np.stack([ranking.positions.numpy() for ranking in mine])
                same = f"{(found == theirs).mean():.4f}"
            print_row([size, asked, *times, f"{megabytes:.0f}", same])
    print()


def search(rows: np.ndarray, wanted: Tensor) -> list:
    """The search of a memory whose file is mapped."""
    return nearest([(0, rows)], lambda at: torch.from_numpy(rows[at].astype("f4")), wanted, K)


def scoring(folder: Path, size: str, repeats: int) -> None:
    """Print the time per photo of search and scores."""
    rows = stored_rows(folder, size)
    values = vectors(len(rows), 512, 3).half()
    words = [(vectors(1, 512, 10 + item), None) for item in range(20)]

    def score(photos: int) -> None:
        found = search(rows, vectors(40 * photos, rows.shape[1], 2))
        positions = torch.stack([ranking.positions for ranking in found])
        memory_scores([values[positions]], [words])

    print_head(["rows", "photos at once", "ms per photo"])
    for photos in (1, 8):
        [best] = alternately([partial(score, photos)], repeats)
        print_row([size, photos, f"{1000 * best / photos:.1f}"])


def _read(rows: np.ndarray) -> None:
    words = torch.from_numpy(rows.view(np.int64))
    for part in torch.split(words, 65_536):
        part.sum()


def product(rows: np.ndarray, wanted: Tensor, dtype: torch.dtype) -> None:
    """One product in parts, rows converted first, which is timed as well."""
    for part in torch.split(torch.from_numpy(rows), 65_536):
        torch.mm(part.float().to(dtype), wanted.T.to(dtype))


def _flat(rows: np.ndarray, peer: str) -> Any:
    """The flat index of faiss, in fp32 or fp16; its memory is taken at once, not by growing."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    dim = rows.shape[1]
    if peer == "faiss":
        index = faiss.IndexFlatIP(dim)
        index.codes.resize(4 * rows.size)
        stored = faiss.rev_swig_ptr(index.get_xb(), rows.size)
    else:
        half = faiss.ScalarQuantizer.QT_fp16
        index = faiss.IndexScalarQuantizer(dim, half, faiss.METRIC_INNER_PRODUCT)
        index.is_trained = True
        index.codes.resize(2 * rows.size)
        stored = faiss.rev_swig_ptr(index.codes.data(), 2 * rows.size).view(np.float16)
    index.ntotal = len(rows)
    stored = stored.reshape(rows.shape)
    for first in range(0, len(rows), 65_536):
        stored[first : first + 65_536] = rows[first : first + 65_536]
    return index


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, help="folder of photos; without it, none are read")
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--search", nargs="*", default=["65000x352", "1000000x768"])
    parser.add_argument("--queries", type=int, nargs="+", default=[40, 100, 1000])
    parser.add_argument("--repeats", type=int, default=3)
    peers = ["read", "fp32", "bf16", "faiss", "faiss16"]
    parser.add_argument("--peers", nargs="*", choices=peers, default=["read", "bf16"])
    parser.add_argument("--data", type=Path, help="where rows are kept; by default nowhere")
    parser.add_argument("--no-scores", action="store_true", help="search alone")
    given = parser.parse_args()
    keep_freed_memory()
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{machine(torch.get_num_threads())}; load {load}\n")
    if given.photos:
        building(given.photos, given.count)
    if given.search:
        with tempfile.TemporaryDirectory() as own:
            folder = given.data or Path(own)
            searching(folder, given.search, given.queries, given.peers, given.repeats)
            if not given.no_scores:
                scoring(folder, given.search[0], given.repeats)


if __name__ == "__main__":
    main()
