"""How many cores a process may use, and what it sets so that others can use them, too."""

import os
import subprocess
import sys

import pytest

from recoseg import cores
from recoseg.control_groups import groups_of


def _write(root, files):
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n"}, [1.5]),
        ("0::/\n", {"cpu.max": "50000 100000\n"}, [0.5]),
        # Within a container the path of its group is that of the host, and the root is its own.
        ("0::/docker/1f\n", {"cpu.max": "300000 100000\n"}, [3.0]),
        (
            "1:cpu,cpuacct:/a\n4:memory:/b\n",
            {
                "cpu/a/cpu.cfs_quota_us": "200000\n",
                "cpu/a/cpu.cfs_period_us": "100000\n",
                "cpu/cpu.cfs_quota_us": "-1\n",
                "cpu/cpu.cfs_period_us": "100000\n",
            },
            [2.0],
        ),
        ("0::/\n", {"cpu.max": "nonsense\n"}, []),
        ("1:memory:/\n", {"cpu.max": "100000 100000\n"}, []),
    ],
)
def test_quotas_of_containers(tmp_path, membership, files, expected):
    _write(tmp_path, files | {"membership": membership})
    assert list(cores._quotas(groups_of("cpu", tmp_path / "membership", tmp_path))) == expected


@pytest.mark.parametrize(
    ("allowed", "quotas", "expected"),
    [(8, [], 8), (8, [2.0], 2), (8, [0.5], 1), (8, [4.0, 1.5], 2), (2, [6.0], 2)],
)
def test_cores_are_those_of_the_process_and_its_quota(monkeypatch, allowed, quotas, expected):
    monkeypatch.setattr(cores, "_allowed", lambda: allowed)
    monkeypatch.setattr(cores, "_quotas", lambda groups: iter(quotas))
    assert cores.usable_cores() == expected


@pytest.mark.parametrize(
    ("given", "quotas", "threads", "policy", "spins"),
    [
        ({}, [], None, "passive", "1000"),
        ({"GOMP_SPINCOUNT": "5"}, [2.0], "2", "passive", "5"),
        ({"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "active"}, [2.0], "3", "active", None),
    ],
)
def test_threads_share_their_cores(monkeypatch, given, quotas, threads, policy, spins):
    monkeypatch.setattr(os, "environ", dict(given))
    monkeypatch.setattr(cores, "_allowed", lambda: 8)
    monkeypatch.setattr(cores, "_quotas", lambda groups: iter(quotas))
    cores.share_cores()
    assert os.environ.get("OMP_NUM_THREADS") == threads
    assert os.environ["OMP_WAIT_POLICY"] == policy
    assert os.environ.get("GOMP_SPINCOUNT") == spins


def test_the_command_line_sets_it_before_torch_is_loaded():
    script = """
import os, sys
from recoseg import cli
assert "torch" not in sys.modules
sys.argv = ["recoseg", "--version"]
try:
    cli.main()
except SystemExit:
    print(os.environ["OMP_WAIT_POLICY"], file=sys.stderr)
"""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    ended = subprocess.run(
        [sys.executable, "-c", script], env=clean, capture_output=True, text=True
    )
    assert ended.stderr.strip() == "passive"
