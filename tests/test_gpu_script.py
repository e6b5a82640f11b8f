"""The script that checks and times everything on a GPU works, in a small size on the CPU."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "benchmarks" / "gpu.sh"


def _run(results, *arguments):
    environment = os.environ | {"PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    command = ["sh", str(SCRIPT), str(results), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_every_stage_runs(tmp_path):
    ended = _run(tmp_path / "gpu.md", "--device", "cpu", "--small")
    assert ended.returncode == 0, ended.stdout
    stages = re.findall(r"^## (\w+):", ended.stdout, re.MULTILINE)
    assert stages == ["kernel", "refining", "regions", "indexing", "learning", "training"]
    assert (tmp_path / "gpu.md").read_text() == ended.stdout


@pytest.mark.skipif(os.name == "nt", reason="a shell script")
def test_a_stage_that_fails_is_named_and_ends_with_1(tmp_path):
    arguments = ("--device", "meta", "--small", "--stages", "refining")
    ended = _run(tmp_path / "gpu.md", *arguments)
    assert ended.returncode == 1
    assert ended.stdout.rstrip().endswith("Failed: refining.")
