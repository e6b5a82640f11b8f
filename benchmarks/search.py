"""Time and memory of exact search compared with faiss, in the same run, each in a new process.

Usage: python benchmarks/search.py --data FOLDER [--rows 1281167] [--dim 768] [--classes 1 30 300]
       [--k 50] [--faiss flat|fp16]

Synthetic unit vectors, fp16, are written to FOLDER once, in shards of 65,536. The floor is the
longer of two times: one read of the same memory-mapped files (a sum of their 64-bit words), and the
bare matrix products on a tile in the cache, in the data type of the search. faiss reads the same
files; its flat index stores fp32, so loading includes reading, conversion and adding. `fp16` is its
flat index in half precision, for vectors that do not fit otherwise. The photos found differ from
those of faiss only where two scores are within 1e-6. `again` is a second call in files that are
mapped already, as those of an open index are; faiss is compared with it, and faiss with its load
with the first call. Memory is the peak of what the process itself allocates; mapped files are not
counted.
"""

from __future__ import annotations

import argparse
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from recoseg.allocator import keep_freed_memory
from recoseg.retrieval.products import products
from recoseg.retrieval.queries import Query
from recoseg.retrieval.search import top_k

SHARD = 65_536
TILE = 1024


def write_vectors(folder: Path, rows: int, dim: int) -> None:
    """Write shards of random unit vectors, with one seed per shard."""
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, rows, SHARD):
        path = folder / f"{first // SHARD:05}.npy"
        if path.exists():
            continue
        count = min(SHARD, rows - first)
        drawn = np.random.default_rng(first).standard_normal((count, dim), np.float32)
        np.save(path, (drawn / np.linalg.norm(drawn, axis=1, keepdims=True)).astype(np.float16))


def blocks(folder: Path) -> Iterator[tuple[int, np.ndarray]]:
    """The shards, memory-mapped, with the position of the first row."""
    start = 0
    for path in sorted(folder.glob("*.npy")):
        rows = np.load(path, mmap_mode="c")
        yield start, rows
        start += len(rows)


def words(count: int, dim: int) -> Tensor:
    """Random unit vectors, fp32."""
    return F.normalize(torch.randn(count, dim, generator=torch.Generator().manual_seed(1)), dim=1)


def own_megabytes() -> float:
    """Memory of this process without mapped files, MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float("nan")


def measured(work: Callable[..., object], *given: object) -> tuple[Any, float, float]:
    """Call a function; return its result, seconds, and peak of allocated memory in MB."""
    keep_freed_memory()
    torch.zeros(1)
    base = peak = own_megabytes()
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.01):
            peak = max(peak, own_megabytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    try:
        found = work(*given)
        seconds = time.perf_counter() - started
    finally:
        done.set()
        watcher.join()
    return found, seconds, peak - base


def alone(work: Callable[..., object], *given: object) -> tuple[Any, float, float]:
    """Call `measured` in a new process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(measured, work, *given).result()


def read(folder: Path) -> int:
    """Read the mapped files once."""
    return sum(int(torch.from_numpy(rows.view(np.int64)).sum()) for _, rows in blocks(folder))


def multiply(rows: int, dim: int, classes: int) -> str:
    """Compute the bare products of this number of rows, on one tile; returns their data type."""
    matrix = words(classes, dim)
    fast = len(products(matrix)) == 2 and classes > 2
    dtype = torch.bfloat16 if fast else torch.float32
    tile, matrix = words(TILE, dim).to(dtype), matrix.to(dtype)
    out = torch.empty(TILE, classes, dtype=dtype)
    for _ in range(-(-rows // TILE)):
        torch.mm(tile, matrix.T, out=out)
    return str(dtype).removeprefix("torch.")


def ours(folder: Path, dim: int, classes: int, k: int) -> tuple[np.ndarray, list[float]]:
    """Search by recoseg twice, the second time in files that are mapped already.

    Returns:
        The positions found, (classes, k), and the seconds of both calls.
    """
    queries = [Query(word[None]) for word in words(classes, dim)]
    started, taken = time.perf_counter(), []
    shards = list(blocks(folder))
    for _ in range(2):
        found = top_k(shards, queries, k)
        taken.append(time.perf_counter() - started)
        started = time.perf_counter()
    return np.stack([ranking.positions.numpy() for ranking in found]), taken


def flat(
    folder: Path, dim: int, classes: list[int], k: int, half: bool
) -> tuple[float, dict[int, object]]:
    """Search by faiss: seconds to load, and positions, scores and seconds per number of classes."""
    import faiss

    faiss.omp_set_num_threads(torch.get_num_threads())
    started = time.perf_counter()
    count = sum(len(rows) for _, rows in blocks(folder))
    if half:
        product = faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_fp16, product)
        index.is_trained = True
        index.codes.resize(count * dim * 2)  # allocate once
        codes = faiss.rev_swig_ptr(index.codes.data(), count * dim * 2).view(np.float16)
    else:
        index = faiss.IndexFlatIP(dim)
        index.codes.resize(count * dim * 4)
        codes = faiss.rev_swig_ptr(index.get_xb(), count * dim)
    index.ntotal = count
    codes = codes.reshape(count, dim)
    for start, rows in blocks(folder):
        codes[start : start + len(rows)] = rows
    loaded = time.perf_counter() - started
    found: dict[int, object] = {}
    for count in classes:
        started = time.perf_counter()
        scores, positions = index.search(words(count, dim).numpy(), k)
        found[count] = (positions, scores, time.perf_counter() - started)
    return loaded, found


def equal(folder: Path, mine: np.ndarray, theirs: np.ndarray, scores: np.ndarray) -> bool:
    """Whether both found the same photos, except where scores differ only by rounding."""
    dim = next(blocks(folder))[1].shape[1]
    matrix = words(len(mine), dim).double()
    rows = [block for _, block in blocks(folder)]
    for query, (ours_, others, values) in enumerate(zip(mine, theirs, scores, strict=True)):
        for position in set(ours_) ^ set(others):
            row = torch.from_numpy(np.array(rows[position // SHARD][position % SHARD]))
            if abs(float(row.double() @ matrix[query]) - values[-1]) > 1e-6:
                return False
    return True


def main() -> None:
    """Print one row for each number of classes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_281_167)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--classes", type=int, nargs="+", default=[1, 30, 300])
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument(
        "--faiss", choices=["flat", "fp16"], help="compare with this exact index of faiss"
    )
    given = parser.parse_args()
    folder = given.data / f"{given.rows}x{given.dim}"
    write_vectors(folder, given.rows, given.dim)
    size = given.rows * given.dim * 2 / 1e9
    _, first_read, _ = alone(read, folder)
    _, seconds_read, _ = alone(read, folder)
    print(f"{given.rows:,} x {given.dim}, fp16, {size:.2f} GB, k = {given.k}, ", end="")
    print(f"{torch.get_num_threads()} threads; read once: {first_read:.2f} s, ", end="")
    print(f"again: {seconds_read:.3f} s = {size / seconds_read:.1f} GB/s")
    peer: tuple[float, dict[int, object]] = (float("nan"), {})
    if given.faiss:
        peer, _, peer_memory = alone(
            flat, folder, given.dim, given.classes, given.k, given.faiss == "fp16"
        )
        print(f"faiss {given.faiss}: {peer[0]:.2f} s to load, {peer_memory:,.0f} MB")
    print(f"{'classes':>7s} {'ours s':>7s} {'again s':>7s} {'MB':>5s} {'read s':>7s} ", end="")
    print(f"{'product s':>9s} {'type':>8s} {'floor/ours':>10s} {'faiss s':>8s} ", end="")
    print(f"{'ratio':>6s} {'with load':>9s} {'same':>5s}")
    for count in given.classes:
        dtype, product, _ = alone(multiply, given.rows, given.dim, count)
        (mine, (first, again)), _, memory = alone(ours, folder, given.dim, count, given.k)
        floor = max(seconds_read, product if count > 2 else 0.0)
        print(f"{count:7d} {first:7.3f} {again:7.3f} {memory:5.0f} ", end="")
        print(f"{seconds_read:7.3f} {product:9.3f} {dtype:>8s} {floor / again:10.2f}", end="")
        if count in peer[1]:
            theirs, scores, search = peer[1][count]
            same = equal(folder, mine, theirs, scores)
            print(f" {search:8.3f} {search / again:6.1f} ", end="")
            print(f"{(peer[0] + search) / first:9.1f} {same!s:>5s}", end="")
        print(flush=True)


if __name__ == "__main__":
    main()
