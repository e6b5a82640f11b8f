"""How long the steps of the demo take, and on what."""

from __future__ import annotations

import time

import torch

from recoseg.device import Compute
from recoseg.drawing.demo_page import Timing


class Watch:
    """Measures steps, each from the end of the one before.

    Attributes:
        laps: The steps so far.
    """

    def __init__(self) -> None:
        self.laps: list[Timing] = []
        self._since = time.perf_counter()

    def lap(self, step: str, count: int = 0, unit: str = "") -> None:
        """End a step, in which `count` things were done."""
        now = time.perf_counter()
        self.laps.append(Timing(step, count, unit, now - self._since))
        self._since = now


def describe_machine(compute: Compute) -> str:
    """The device, its precision, and the number of threads, such as `CPU, 2 threads, fp32`."""
    count = torch.get_num_threads()
    threads = f"{count} thread" if count == 1 else f"{count} threads"
    device = compute.device
    if device.type == "cuda":
        return f"{torch.cuda.get_device_name(device)}, {compute.precision}"
    return f"{device.type.upper()}, {threads}, {compute.precision}"
