"""Recall and time of approximate search compared with exact search, at several efforts.

    python benchmarks/approximate.py --data FOLDER [--rows 1281167] [--dim 768] [--kinds ivf hnsw]

There are two kinds of synthetic unit vectors, fp16. `random` vectors have no structure, which is
the worst case for an index: no photo is near another. `grouped` vectors are spread around 20,000
centres, at a cosine of 0.7; real photos are somewhere between the two. Each query has a cosine of
0.3 with a centre, as text embeddings have with photos (`random` vectors have no centres). Recall is
the fraction of the 50 best photos that are found. Both times are for all queries together. An index
of an earlier run is used again.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from measuring import machine, print_head, print_row
from torch import Tensor
from torch.nn import functional as F

from recoseg.allocator import keep_freed_memory
from recoseg.retrieval.approximate import ApproximateIndex
from recoseg.retrieval.queries import Query
from recoseg.retrieval.search import top_k

CENTRES = 20_000
K = 50
BLOCK = 65_536
EFFORTS = {"ivf": (16, 64, 256), "hnsw": (64, 256, 1024)}


class Vectors:
    """A file of vectors with the interface of an archive.

    Args:
        path: The file; it is written if it does not exist.
        rows: Number of vectors.
        dim: Length of each vector.
        grouped: Whether vectors are spread around centres.
    """

    def __init__(self, path: Path, rows: int, dim: int, grouped: bool) -> None:
        drawn = np.random.default_rng(0)
        self.centres = F.normalize(torch.randn(CENTRES, dim, generator=seeded(0)), dim=1)
        if not path.exists():
            file = np.lib.format.open_memmap(path, "w+", np.float16, (rows, dim))
            for first in range(0, rows, BLOCK):
                count = min(BLOCK, rows - first)
                made = torch.randn(count, dim, generator=seeded(first + 1))
                if grouped:
                    chosen = torch.from_numpy(drawn.integers(0, CENTRES, count))
                    made = near(self.centres[chosen], made, 0.7)
                file[first : first + count] = F.normalize(made, dim=1).half().numpy()
            file.flush()
        self._rows = np.load(path, mmap_mode="c")
        self.content = f"{rows} {dim} {grouped}"

    def __len__(self) -> int:
        return len(self._rows)

    def is_selected(self, position: int) -> bool:
        """True: all vectors are selected."""
        return True

    def blocks(
        self, rows: int = BLOCK, *, selected: bool = True
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Blocks of vectors, memory-mapped, with the position of the first."""
        for first in range(0, len(self._rows), rows):
            yield first, self._rows[first : first + rows]

    def embeddings(self, positions: Sequence[int]) -> Tensor:
        """The vectors at some positions, fp32."""
        return torch.from_numpy(self._rows[list(positions)].astype(np.float32))

    def photo_id(self, position: int) -> str:
        """The id of a vector, which is its position."""
        return str(position)


def seeded(seed: int) -> torch.Generator:
    """A random number generator with this seed."""
    return torch.Generator().manual_seed(seed)


def near(points: Tensor, noise: Tensor, cosine: float) -> Tensor:
    """Random unit vectors at about the given cosine with `points`."""
    return F.normalize(cosine * points + (1 - cosine**2) ** 0.5 * F.normalize(noise, dim=1), dim=1)


def measure(folder: Path, vectors: Vectors, kind: str, queries: Sequence[Query], name: str) -> None:
    """Print one row for each effort."""
    home = folder / f"{name}-{kind}"
    built = "-"
    if not home.exists():
        started = time.perf_counter()
        ApproximateIndex.open(vectors, home, kind)
        built = f"{time.perf_counter() - started:.0f}"
    size = sum(path.stat().st_size for path in home.iterdir()) / 1e9
    started = time.perf_counter()
    exact = top_k(vectors.blocks(), queries, K)
    slow = time.perf_counter() - started
    for effort in EFFORTS[kind]:
        index = ApproximateIndex.open(vectors, home, kind, effort=effort)
        index.search(queries[:1], K)
        started = time.perf_counter()
        found = index.search(queries, K)
        fast = time.perf_counter() - started
        pairs = zip(found, exact, strict=True)
        hits = sum(int(torch.isin(a.positions, b.positions).sum()) for a, b in pairs)
        recall = hits / sum(len(best.positions) for best in exact)
        times = (built, f"{size:.2f}", f"{fast:.3f}", f"{slow:.3f}", f"{recall:.2f}")
        print_row((name, kind, effort, *times))


def main() -> None:
    """Print one row for each kind of vectors, kind of index, and effort."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder for vectors and indexes")
    parser.add_argument("--rows", type=int, default=1_281_167)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--words", type=int, default=30, help="number of queries")
    parser.add_argument("--kinds", nargs="+", default=["ivf", "hnsw"])
    parser.add_argument("--vectors", nargs="+", default=["grouped", "random"])
    given = parser.parse_args()
    keep_freed_memory()
    given.data.mkdir(parents=True, exist_ok=True)
    print(f"{machine(torch.get_num_threads())}\n")
    print(f"{given.rows:,} x {given.dim}, {given.words} words, k = {K}\n")
    print_head(("vectors", "kind", "effort", "build s", "GB", "search s", "exact s", "recall"))
    for name in given.vectors:
        path = given.data / f"{name}-{given.rows}x{given.dim}.npy"
        vectors = Vectors(path, given.rows, given.dim, name == "grouped")
        noise = torch.randn(given.words, given.dim, generator=seeded(7))
        words = near(vectors.centres[: given.words], noise, 0.3)
        queries = [Query(word[None]) for word in words]
        for kind in given.kinds:
            measure(given.data, vectors, kind, queries, name)


if __name__ == "__main__":
    main()
