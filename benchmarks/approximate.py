"""Recall and time of approximate search beside exact search, at several efforts.

    python benchmarks/approximate.py --data FOLDER [--rows 1281167] [--dim 768] [--kinds ivf hnsw]

Two kinds of synthetic unit vectors, fp16. `random` ones have no structure, the worst that can
happen to an index: no photo is near to another. `grouped` ones lie about 20,000 centres, at a
cosine of 0.7; real photos are somewhere between. Each word lies at a cosine of 0.3 to a centre, as
text does to photos (to nothing, where vectors are random). Recall is the share of the 50 best
photos that are found; both times are of all words together. An index of an earlier run is used
again.
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

from recoseg.memory import keep_freed_memory
from recoseg.retrieval.approximate import ApproximateIndex
from recoseg.retrieval.queries import Query
from recoseg.retrieval.search import top_k

CENTRES = 20_000
K = 50
BLOCK = 65_536
EFFORTS = {"ivf": (16, 64, 256), "hnsw": (64, 256, 1024)}


class Vectors:
    """One file of vectors, as an archive.

    Args:
        path: Where it lies; written first if absent.
        rows: How many.
        dim: Their length.
        grouped: Whether they lie about centres.
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

    def __len__(self) -> int:
        return len(self._rows)

    def is_selected(self, position: int) -> bool:
        """All of them are."""
        return True

    def blocks(
        self, rows: int = BLOCK, *, selected: bool = True
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Parts of them, mapped."""
        for first in range(0, len(self._rows), rows):
            yield first, self._rows[first : first + rows]

    def embeddings(self, positions: Sequence[int]) -> Tensor:
        """Some of them, fp32."""
        return torch.from_numpy(self._rows[list(positions)].astype(np.float32))

    def photo_id(self, position: int) -> str:
        """Their names are their numbers."""
        return str(position)


def seeded(seed: int) -> torch.Generator:
    """A generator of random numbers."""
    return torch.Generator().manual_seed(seed)


def near(points: Tensor, noise: Tensor, cosine: float) -> Tensor:
    """Unit vectors at about some cosine to others."""
    return F.normalize(cosine * points + (1 - cosine**2) ** 0.5 * F.normalize(noise, dim=1), dim=1)


def measure(folder: Path, vectors: Vectors, kind: str, queries: Sequence[Query], name: str) -> None:
    """One row for each effort."""
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
    """Print one row per kind of vectors, of index, and effort."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=1_281_167)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--words", type=int, default=30)
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
