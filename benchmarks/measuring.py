"""Helpers of the benchmarks: times, peak memory, the machine, tables."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch


def seconds(run: Callable[[], object], repeats: int = 1, device: str = "cpu") -> float:
    """Seconds of the fastest of several runs."""
    best = float("inf")
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def alternately(
    runs: Sequence[Callable[[], object]], repeats: int, device: str = "cpu"
) -> list[float]:
    """Seconds of the fastest run of each function, run in turns under the same conditions."""
    best = [float("inf")] * len(runs)
    for _ in range(repeats):
        best = [min(old, seconds(run, 1, device)) for old, run in zip(best, runs, strict=True)]
    return best


def peak_bytes() -> int:
    """Peak memory of this program; unlike getrusage, without the parent's peak before exec."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def in_a_process(script: str, *arguments: object) -> float:
    """Run a script in a new process and return the last number that it prints."""
    return float(printed_by(script, *arguments)[-1])


def printed_by(script: str, *arguments: object) -> list[str]:
    """Run a script in a new process and return the words that it prints."""
    command = [sys.executable, script, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def machine(threads: int, device: str = "cpu") -> str:
    """One line that describes processor, threads and versions."""
    if device.startswith("cuda"):
        name = torch.cuda.get_device_name(device)
    else:
        flags = {"avx512_f": "AVX-512", "avx512_bf16": "bf16 products"}
        found = torch.cpu.get_capabilities()
        extra = [text for flag, text in flags.items() if found.get(flag, False)]
        name = f"{_processor()} ({', '.join(extra) or 'no AVX-512'}), {os.cpu_count()} cores"
    versions = f"Python {platform.python_version()}, PyTorch {torch.__version__.split('+')[0]}"
    return f"{name}, {threads} threads, {versions}, {platform.system()}"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def print_row(cells: Sequence[object]) -> None:
    """Print one row of a Markdown table and flush the output."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def print_head(columns: Sequence[str]) -> None:
    """Print the header of a Markdown table."""
    print_row(columns)
    print("|" + "---|" * len(columns), flush=True)
