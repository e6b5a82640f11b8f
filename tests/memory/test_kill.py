"""A run that is killed at any moment loses only its unfinished shards."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recoseg.archive.index import ArchiveIndex
from recoseg.archive.selection import Selection
from recoseg.memory import layout
from recoseg.memory.region_memory import RegionMemory
from recoseg.memory.verify import verify_memory

from .fakes import SlowPhi, contents, files, make_index, worker, write

SCRIPT = """
import sys
from recoseg.archive.index import ArchiveIndex
from tests.memory.fakes import SlowPhi, worker, write
print("ready", flush=True)
write(ArchiveIndex.open(sys.argv[1]), sys.argv[2], lambda: worker([SlowPhi()]), shard_size=3)
"""


def markers(root):
    return len(list((root / "shards").glob("shard_*.json")))


@pytest.mark.slow
def test_two_kills_at_random_moments(tmp_path):
    index = make_index(tmp_path, 27)
    write(index, tmp_path / "undisturbed", lambda: worker([SlowPhi()]), shard_size=3)
    root = Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), str(root / "src")])
    environment = os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    moments = random.Random(5)
    grown = [0]
    for _ in range(2):
        command = [sys.executable, "-c", SCRIPT, str(tmp_path / "index"), str(tmp_path / "memory")]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            end = time.monotonic() + 60
            while markers(tmp_path / "memory") <= grown[-1]:
                assert time.monotonic() < end
                time.sleep(0.005)
            time.sleep(moments.uniform(0, 0.1))
            process.kill()
            assert process.wait() != 0
        memory = RegionMemory.open(tmp_path / "memory")  # readable at any time
        grown.append(markers(tmp_path / "memory"))
        assert memory.summary().photos == 3 * grown[-1] < 27
    write(index, tmp_path / "memory", lambda: worker([SlowPhi()]), shard_size=3)
    assert files(tmp_path / "memory") == files(tmp_path / "undisturbed")
    assert verify_memory(tmp_path / "memory").problems == ()


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", range(18))
def test_a_stop_before_any_write_leaves_a_valid_memory(tmp_path, monkeypatch, step):
    """Stop before each file in turn, while one shard is rewritten and others are appended."""
    index = make_index(tmp_path, 7)
    write(index, tmp_path / "memory")
    before = contents(RegionMemory.open(tmp_path / "memory"))
    grown = make_index(tmp_path, 6, 50)
    gone = index.photo_id(1)
    grown = ArchiveIndex.open(tmp_path / "index", Selection({gone: "blurred"}))
    calls = []

    def stopping(real):
        def stop(path, data):
            calls.append(path)
            if len(calls) > step:
                path.parent.mkdir(exist_ok=True)
                path.with_name(f".tmp-{path.name}").write_bytes(b"half")
                raise Killed
            return real(path, data)

        return stop

    monkeypatch.setattr(layout, "write_with_checksum", stopping(layout.write_with_checksum))
    monkeypatch.setattr(layout, "write_bytes", stopping(layout.write_bytes))
    try:
        write(grown, tmp_path / "memory", prune=True)
        assert step >= len(calls)
    except Killed:
        pass
    now = contents(RegionMemory.open(tmp_path / "memory"))
    assert now.keys() >= before.keys() - {gone}
    monkeypatch.undo()
    write(grown, tmp_path / "memory", prune=True)
    write(grown, tmp_path / "fresh")
    found, fresh = (contents(RegionMemory.open(tmp_path / n)) for n in ("memory", "fresh"))
    assert found == fresh
    assert verify_memory(tmp_path / "memory").problems == ()
    assert not list((tmp_path / "memory").rglob(".tmp*"))
