"""Peak memory beyond the features themselves, in a process of its own."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys, torch
from recoseg.cosegmentation import cosegment

def peak():
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

torch.manual_seed(0)
cosegment(torch.randn(2, 384, 3, 3), torch.rand(2, 3, 3))  # libraries load their own buffers once
features, weights = torch.randn(50, 384, 24, 24), torch.rand(50, 24, 24)
before = peak()
cosegment(features, weights)
print((peak() - before) / 1e6)
"""


def test_peak_memory_at_28800_patches_of_384():
    pytest.importorskip("resource")
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    assert float(run.stdout) < 300  # MB; the adjacency matrix alone would be 3,318
