"""Speed of indexing compared with the bare forward pass and clip-retrieval, in the same run.

Usage: python benchmarks/indexing.py --photos FOLDER --arch ViT-B-32 --weights FILE
       [--peer CLIP_RETRIEVAL] [--limit 320] [--batch-size 64] [--precisions auto fp32]

FILE is an open_clip state dict, which may have random weights. CLIP_RETRIEVAL is the program
`clip-retrieval`, installed in a separate virtual environment. Every part runs in a new process, on
the first photos of the folder. No time includes loading the model; the times of both programs
include everything else from listing or reading photos to the last file. The floor is the bare
forward pass on prepared tensors of the same batch size. Stored embeddings are compared with those
of recoseg in fp32.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from recoseg.allocator import keep_freed_memory
from recoseg.archive.index import ArchiveIndex
from recoseg.device import resolve_compute
from recoseg.encoders.encoder_table import build_retrieval
from recoseg.pipeline.index import build_index

Rows = dict[str, np.ndarray]

_ARENAS = "MALLOC_ARENA_MAX"


def bare(spec: str, precision: str, batch_size: int, photos: int) -> float:
    """Photos per second of the forward pass alone."""
    keep_freed_memory()
    encoder = build_retrieval(spec, resolve_compute("auto", precision))
    size = encoder.frame.size
    batch = torch.randint(0, 256, (batch_size, 3, size, size), dtype=torch.uint8)
    batches = max(1, photos // batch_size)
    with torch.inference_mode():
        encoder.embed_images(batch).cpu()
        started = time.perf_counter()
        for _ in range(batches):
            encoder.embed_images(batch).cpu()
    return batches * batch_size / (time.perf_counter() - started)


def ours(
    spec: str, precision: str, batch_size: int, photos: Path, out: Path
) -> tuple[float, float, str]:
    """Photos per second of recoseg, its peak memory in MB, and its precision."""
    keep_freed_memory()
    compute = resolve_compute("auto", precision)
    encoder = build_retrieval(spec, compute)
    size = encoder.frame.size
    with torch.inference_mode():
        encoder.embed_images(torch.zeros(batch_size, 3, size, size, dtype=torch.uint8))
    report = build_index(
        photos, out, retrieval=encoder, precision=compute.precision, batch_size=batch_size
    ).report
    assert report is not None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return report.new / report.seconds, peak, compute.precision


def peer(
    program: str, arch: str, weights: Path, batch_size: int, photos: Path, out: Path
) -> tuple[float, float]:
    """Photos per second of clip-retrieval by its own statistics, and its peak memory in MB."""
    command = [program, "inference", "--input_dataset", str(photos), "--output_folder", str(out)]
    command += ["--clip_model", f"open_clip:{arch}/{weights.resolve()}"]
    command += ["--batch_size", str(batch_size), "--enable_text", "False"]
    command += ["--num_prepro_workers", str(os.cpu_count())]
    environment = {key: value for key, value in os.environ.items() if key != _ARENAS}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    record = json.loads(next((out / "stats").glob("*.json")).read_text())
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return record["sample_count"] / record["total_duration"], peak


def alone(work: Callable[..., object], *given: object) -> object:
    """Call a function in a new process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *given).result()


def our_rows(root: Path) -> Rows:
    """Embeddings of recoseg by file name."""
    index = ArchiveIndex.open(root)
    rows = np.concatenate([block for _, block in index.blocks()])
    return {Path(index.path(at)).name: row for at, row in enumerate(rows.astype(np.float32))}


def their_rows(root: Path) -> Rows:
    """Embeddings of clip-retrieval by file name."""
    rows: Rows = {}
    for array in sorted((root / "img_emb").glob("*.npy")):
        number = array.stem.rsplit("_", 1)[-1]
        table = pq.read_table(root / "metadata" / f"metadata_{number}.parquet")
        names = table.column("image_path").to_pylist()
        found = zip(names, np.load(array).astype(np.float32), strict=True)
        rows |= {Path(name).name: row for name, row in found}
    return rows


def cosine(some: Rows, others: Rows) -> str:
    """The smallest cosine between two embeddings of the same photo."""
    assert some.keys() == others.keys()
    unit = [
        {name: row / np.linalg.norm(row) for name, row in rows.items()} for rows in (some, others)
    ]
    return f"{min(float(unit[0][name] @ unit[1][name]) for name in unit[0]):.5f}"


def main() -> None:
    """Print one row for each program and precision."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--arch", default="ViT-B-32")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--peer", help="path of the program clip-retrieval")
    parser.add_argument("--limit", type=int, default=320)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precisions", nargs="+", default=["auto", "fp32"])
    given = parser.parse_args()
    os.environ[_ARENAS] = "1"  # `keep_freed_memory` sets it too late if torch is loaded first
    spec = f"open_clip:{given.arch}={given.weights}"
    chosen = sorted(path for path in given.photos.iterdir() if path.suffix == ".jpg")
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        photos = scratch / "photos"
        photos.mkdir()
        for path in chosen[: given.limit]:
            (photos / path.name).symlink_to(path.resolve())
        print(f"{given.arch}, {given.limit} photos, batch {given.batch_size}, ", end="")
        print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
        print(f"{'program':15s} {'precision':9s} {'bare/s':>7s} {'photos/s':>8s} ", end="")
        print(f"{'of bare':>7s} {'MB':>6s} {'smallest cosine to fp32':>23s}", flush=True)
        rows: dict[str, Rows] = {}
        rates: dict[str, float] = {}
        lines = []
        for asked in given.precisions:
            top = alone(bare, spec, asked, given.batch_size, given.limit)
            rate, peak, precision = alone(
                ours, spec, asked, given.batch_size, photos, scratch / asked
            )
            rows[precision] = our_rows(scratch / asked)
            rates[precision] = rate
            lines.append((precision, f"{top:7.1f} {rate:8.1f} {rate / top:7.2f} {peak:6.0f}"))
        for precision, line in lines:
            near = cosine(rows[precision], rows["fp32"]) if "fp32" in rows else "-"
            print(f"{'recoseg':15s} {precision:9s} {line} {near:>23s}", flush=True)
        if given.peer:
            out = scratch / "peer"
            found = alone(
                peer, given.peer, given.arch, given.weights, given.batch_size, photos, out
            )
            rate, peak = found
            near = cosine(their_rows(out), rows["fp32"]) if "fp32" in rows else "-"
            line = f"{'-':>7s} {rate:8.1f} {'-':>7s} {peak:6.0f} {near:>23s}"
            print(f"{'clip-retrieval':15s} {'fp32':9s} {line}")
            for precision, own in rates.items():
                print(f"recoseg {precision} / clip-retrieval: {own / rate:.2f}")


if __name__ == "__main__":
    main()
