"""Requests per second of `recoseg serve` beside the photos per second of the bare segmenter.

python benchmarks/serving.py PHOTOS --count 96

The server is a process of its own, as it is used; clients are threads of this one, each with a
connection that it keeps. The bare segmenter, in this process, gets the same bytes before and after.
"""

from __future__ import annotations

import argparse
import http.client
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Empty, SimpleQueue
from urllib.parse import urlsplit

import numpy as np
import torch
from measuring import machine, print_head, print_row, seconds

from recoseg.allocator import keep_freed_memory
from recoseg.device import resolve_compute
from recoseg.segmentation.bank_segmenter import bank_segmenter
from segmentation import CLASSES, build, random_bank

BOUNDARY = "part"
KIND = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def form(photo: bytes, fields: dict[str, str]) -> bytes:
    """The body of a request."""
    parts = [
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
        for name, value in fields.items()
    ]
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
    return b"".join([*parts, head.encode(), photo, f"\r\n--{BOUNDARY}--\r\n".encode()])


def ask(port: int, bodies: SimpleQueue[bytes]) -> list[float]:
    """Send requests one after the other until none is left; the seconds of each."""
    connection, found = http.client.HTTPConnection("127.0.0.1", port, timeout=300), []
    while True:
        try:
            body = bodies.get_nowait()
        except Empty:
            connection.close()
            return found
        started = time.perf_counter()
        connection.request("POST", "/segment", body, KIND)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise RuntimeError(f"the server answered {answer.status}")
        found.append(time.perf_counter() - started)


def measure(port: int, bodies: list[bytes], clients: int) -> tuple[float, np.ndarray]:
    """Requests per second, and the seconds of each request."""
    waiting: SimpleQueue[bytes] = SimpleQueue()
    for body in bodies:
        waiting.put(body)
    started = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        parts = list(pool.map(lambda _: ask(port, waiting), range(clients)))
    return len(bodies) / (time.perf_counter() - started), np.concatenate(parts)


def processor_seconds(process: int) -> float:
    """Processor time that a process has taken so far; Linux only."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Print one row for the bare segmenter and one for each number of clients."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path, help="folder of photos")
    parser.add_argument("--count", type=int, default=96)
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--format", default="rle")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    keep_freed_memory()
    torch.set_num_threads(options.threads)
    compute = resolve_compute("cpu")
    paths = sorted(options.photos.rglob("*.jpg"))[: options.count]
    photos = [path.read_bytes() for path in paths]
    bodies = [form(photo, {"format": options.format}) for photo in photos]
    phi, saliency = build("lite", compute)
    bank = random_bank(phi, saliency, CLASSES)
    segmenter = bank_segmenter(bank, phi=phi, saliency=saliency)

    def bare() -> tuple[float, float]:
        used = time.process_time()
        rate = len(photos) / seconds(lambda: list(segmenter.stream(photos)))
        return rate, (time.process_time() - used) / len(photos)

    print(f"{machine(options.threads)}, {compute.precision}\n")
    print(
        f"{len(photos)} photos at short side 320, {CLASSES} classes, answers as {options.format}\n"
    )
    with tempfile.TemporaryDirectory() as home:
        bank.save(Path(home) / "bank.safetensors")
        command = [sys.executable, "-m", "recoseg", "serve", f"{home}/bank.safetensors", "--no-log"]
        server = subprocess.Popen([*command, "--port", "0"], stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        try:
            address = next(word for word in server.stdout.readline().split() if "://" in word)
            port = urlsplit(address).port or 80
            measure(port, bodies[:8], 1)  # warms the models
            before = bare()
            rows = []
            for clients in options.clients:
                used = processor_seconds(server.pid)
                rate, times = measure(port, bodies, clients)
                rows.append(
                    (clients, rate, (processor_seconds(server.pid) - used) / len(bodies), times)
                )
            after = bare()
        finally:
            server.terminate()
            server.wait()
    best = max(before, after)
    print_head(
        ("clients", "requests/s", "of the best bare run", "processor ms each", "median s", "p95 s")
    )
    for what, (rate, used) in (("bare, before", before), ("bare, after", after)):
        print_row((what, f"{rate:.1f}", f"{rate / best[0]:.2f}", f"{1000 * used:.0f}", "", ""))
    for clients, rate, used, times in rows:
        p50, p95 = (f"{value:.3f}" for value in np.quantile(times, [0.5, 0.95]))
        shares = (f"{rate:.1f}", f"{rate / best[0]:.2f}", f"{1000 * used:.0f}")
        print_row((clients, *shares, p50, p95))


if __name__ == "__main__":
    main()
