"""Indexes the same photos in this process and on local Ray clusters, and compares the files.

Usage: python benchmarks/executors.py --photos FOLDER [--retrieval lite] [--limit 96]
    [--shard-size 16]

Every run is a fresh command; the seconds hold the start of Python, of Ray and of the models. The
threads of a product are the processors of one worker, since another number may round otherwise.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MAIN = "from recoseg.cli import main; main()"


def index(photos: Path, out: Path, threads: int, *options: str) -> float:
    """Seconds of one command."""
    command = [sys.executable, "-c", MAIN, "index", str(photos), "--out", str(out), *options]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment)
    return time.perf_counter() - started


def files(root: Path) -> dict[str, bytes]:
    """All files of an index by name."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def main() -> None:
    """Print one row per executor."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--retrieval", default="lite")
    parser.add_argument("--limit", type=int, default=96)
    parser.add_argument("--shard-size", type=int, default=16)
    given = parser.parse_args()
    common = ["--retrieval", given.retrieval, "--shard-size", str(given.shard_size)]
    common += ["--batch-size", str(given.shard_size)]
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        photos = scratch / "photos"
        photos.mkdir()
        for path in sorted(given.photos.glob("*.jpg"))[: given.limit]:
            (photos / path.name).symlink_to(path.resolve())
        alone = index(photos, scratch / "local", 1, *common)
        want = files(scratch / "local")
        print(
            f"{given.retrieval}, {len(want)} files\n{'executor':20s} {'s':>6s} {'same bytes':>10s}"
        )
        print(f"{'local, 1 thread':20s} {alone:6.1f}", flush=True)
        for workers in (1, 2):
            out = scratch / f"ray{workers}"
            options = ["--executor", "ray", "--ray-workers", str(workers)]
            seconds = index(photos, out, 1, *common, *options)
            same = files(out) == want
            print(f"{f'ray, {workers} of 1 thread':20s} {seconds:6.1f} {same!s:>10s}", flush=True)


if __name__ == "__main__":
    main()
