"""Peak memory beyond the features themselves, measured in a separate process."""

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import pathlib, torch
from recoseg.cosegmentation import cosegment

def peak():  # of this program alone; getrusage would count the parent's peak before exec
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

torch.manual_seed(0)
cosegment(torch.randn(2, 384, 3, 3), torch.rand(2, 3, 3))  # libraries load their own buffers once
features, weights = torch.randn(50, 384, 24, 24), torch.rand(50, 24, 24)
before = peak()
cosegment(features, weights)
print((peak() - before) / 1e6)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_peak_memory_at_28800_patches_of_384():
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert float(run.stdout) < 300  # MB; the adjacency matrix alone would be 3,318
