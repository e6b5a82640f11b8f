"""Copies of one command side by side: each copy's share of the rate of a lone run.

    python benchmarks/busy.py PHOTOS [--photos 200] [--copies 1,2,3,4] [--group FOLDER]

Each stage runs as a user would run it, start-up included, with the preset `lite`. Of n copies that
start together on otherwise idle cores, each has a fair share of 1/n of the lone run's rate. The
column `share` is what the slowest copy reached of that: 1.0 is fair. Rows with waiting threads that
spin (`OMP_WAIT_POLICY=active`, which resembles OpenMP's default) are for comparison.

`--group` is the folder of a control group with a CPU quota, such as /sys/fs/cgroup/cpu/NAME; the
commands run in it. In groups of version 2, its file `cgroup.procs` has to be writable.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from measuring import machine, print_head, print_row

CLASSES = "dog, cat, bird, car, building, tree, flower, person"


def command_of(stage: str, work: Path, photos: Path, out: Path) -> list[str]:
    """The command line of a stage; its output goes to `out`."""
    index, bank = str(work / "index"), str(work / "bank.safetensors")
    arguments = {
        "index": ["index", str(photos), "--out", str(out)],
        "learn": ["learn", index, "--classes", CLASSES, "--out", f"{out}.safetensors", "-k", "20"],
        "segment": ["segment", bank, str(photos), "--out", str(out)],
        "segment --refine pamr": ["segment", bank, str(photos), "--out", str(out)],
    }[stage]
    return [sys.executable, "-m", "recoseg", *arguments, *stage.split()[1:]]


def together(commands: Iterable[list[str]], policy: str | None, group: Path | None) -> float:
    """Start commands at once; seconds until the last one ends."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith("OMP_")}
    if policy is not None:
        environment["OMP_WAIT_POLICY"] = policy

    def join() -> None:
        if group is not None:
            (group / "cgroup.procs").write_text("0")  # the process that writes it

    start = time.perf_counter()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    running = [
        subprocess.Popen(command, env=environment, preexec_fn=join, **quiet) for command in commands
    ]
    for process in running:
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(errors.decode())
    return time.perf_counter() - start


def main() -> None:
    """Run the stages and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", type=Path)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--copies", default="1,2,3,4")
    parser.add_argument("--stages", default="index,segment,segment --refine pamr,learn")
    parser.add_argument("--policies", default="shared,active")
    parser.add_argument("--group", type=Path)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{machine(os.cpu_count() or 1)}; load before {load:.1f}\n")
    print_head(("stage", "threads wait", "copies", "seconds", "share"))
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        photos = work / "photos"
        photos.mkdir()
        for path in sorted(options.source.iterdir())[: options.photos]:
            (photos / path.name).symlink_to(path.resolve())
        for stage in ("index", "learn"):  # also reads every file once
            out = {"index": work / "index", "learn": work / "bank"}[stage]
            together([command_of(stage, work, photos, out)], None, None)
        for stage in options.stages.split(","):
            for policy in options.policies.split(","):
                lone = 0.0
                for copies in map(int, options.copies.split(",")):
                    name = f"{stage.split()[0]}_{policy}_{copies}_{len(stage)}"
                    outs = [work / f"{name}_{number}" for number in range(copies)]
                    took = together(
                        [command_of(stage, work, photos, out) for out in outs],
                        None if policy == "shared" else policy,
                        options.group,
                    )
                    lone = lone or took / copies
                    share = f"{lone * copies / took:.2f}"
                    print_row((stage, policy, copies, f"{took:.1f}", share))


if __name__ == "__main__":
    main()
