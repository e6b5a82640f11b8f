"""Indexing and learning in one process compared with local Ray clusters, on the same photos.

Usage: python benchmarks/executors.py --photos FOLDER [--preset lite] [--limit 192]
    [--shard-size 16] [--only index|learn]

Every run is a new command, and its time includes the start of Python and Ray and the loading of
the models. The rate is the one that the command prints for its first stage: embedding without the
start of the workers, features including it. Files and references are compared with those of one
thread, since another number of threads may round differently.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch
from measuring import machine, print_head, print_row

from recoseg.concepts import ConceptBank

MAIN = "from recoseg.cli import main; main()"
PLACES = {
    "local, 1 thread": (1, []),
    "local, 2 threads": (2, []),
    "ray, 1 worker of 1 thread": (1, ["--executor", "ray", "--ray-workers", "1"]),
    "ray, 2 workers of 1 thread": (1, ["--executor", "ray", "--ray-workers", "2"]),
}


@dataclass(frozen=True)
class Run:
    """A finished command: its elapsed seconds, and photos per second of its first stage."""

    seconds: float
    rate: str


def recoseg(threads: int, *arguments: object) -> Run:
    """Run a recoseg command and measure it."""
    command = [sys.executable, "-c", MAIN, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    started = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    seconds = time.perf_counter() - started
    found = re.search(r": (\d+) images in .*, ([0-9.]+) images/s", done.stderr)
    return Run(seconds, f"{found[2]} ({found[1]} photos)" if found else "-")


def files(root: Path) -> dict[str, bytes]:
    """The contents of all files of an index by name."""
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def references(path: Path) -> torch.Tensor:
    """The references of all concepts of a bank."""
    return torch.cat(
        [next(iter(item.references.values())) for item in ConceptBank.load(path).concepts]
    )


def main() -> None:
    """Print one row for each command and executor."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--preset", default="lite")
    parser.add_argument("--limit", type=int, default=192)
    parser.add_argument("--shard-size", type=int, default=16)
    parser.add_argument("--only", choices=["index", "learn"])
    given = parser.parse_args()
    print(f"{machine(2)}, {given.preset}, {given.limit} photos\n")
    print_head(("command", "executor", "s", "photos/s", "result as with one thread"))
    with tempfile.TemporaryDirectory() as temporary:
        scratch = Path(temporary)
        photos = scratch / "photos"
        photos.mkdir()
        for path in sorted(given.photos.glob("*.jpg"))[: given.limit]:
            (photos / path.name).symlink_to(path.resolve())
        size = given.shard_size
        for number, (place, (threads, options)) in enumerate(PLACES.items()):
            if given.only == "learn" and number:
                break
            out = scratch / f"index{number}"
            common = ["--preset", given.preset, "--shard-size", size, "--batch-size", size]
            done = recoseg(threads, "index", photos, "--out", out, *common, *options)
            same = "equal" if files(out) == files(scratch / "index0") else "not equal"
            print_row(("index", place, f"{done.seconds:.1f}", done.rate, same))
        classes = scratch / "classes.txt"
        classes.write_text("dog\ncar\nbird\nboat\n")
        for number, (place, (threads, options)) in enumerate(PLACES.items()):
            if given.only == "index":
                break
            out = scratch / f"bank{number}.safetensors"
            common = ["--classes", classes, "--out", out, "-k", 30]
            done = recoseg(threads, "learn", scratch / "index0", *common, *options)
            other = (references(out) - references(scratch / "bank0.safetensors")).abs().max()
            same = "equal" if other == 0 else f"differs by {other:.0e}"
            print_row(("learn", place, f"{done.seconds:.1f}", done.rate, same))


if __name__ == "__main__":
    main()
