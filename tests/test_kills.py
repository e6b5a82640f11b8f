"""A small campaign of kills; `benchmarks/kill.py` runs larger ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the campaign forks")
def test_a_kill_of_a_command(tmp_path):
    paths = os.pathsep.join([str(ROOT), str(ROOT / "src")])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, ROOT / "benchmarks/kill.py", "--kills", "1", "--seed", "3"]
    command += ["--folder", tmp_path / "kills", "pseudo-label"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(" | 1 | ") == 1
