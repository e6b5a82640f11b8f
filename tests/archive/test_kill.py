"""A killed run loses only its unfinished shards."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recoseg.archive.index import ArchiveIndex
from recoseg.storage import atomic, checksums
from tests.archive.conftest import make_folder, make_photo
from tests.archive.fake_encoder import FakeEncoder
from tests.archive.test_build import contents, run

SCRIPT = """
import sys
from tests.archive.fake_encoder import FakeEncoder
from tests.building import build_index
print("ready", flush=True)
options = {"precision": "fp32", "shard_size": 5, "batch_size": 3, "workers": 2}
build_index([sys.argv[1]], sys.argv[2], FakeEncoder(delay=0.02), **options)
"""


def paths(root):
    index = ArchiveIndex.open(root)
    return [index.path(position) for position in range(len(index))]


def shards(root):
    return len(list((root / "shards").glob("shard_*.json")))


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def test_three_kills_at_random_moments(tmp_path):
    folder = make_folder(tmp_path / "photos", 60)
    run([folder], tmp_path / "undisturbed", FakeEncoder())
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    moments = random.Random(7)
    grown = [0]
    for _ in range(3):
        command = [sys.executable, "-c", SCRIPT, str(folder), str(tmp_path / "index")]
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as process:
            assert process.stdout.readline() == b"ready\n"
            wait_for(lambda at_least=grown[-1] + 1: shards(tmp_path / "index") >= at_least)
            time.sleep(moments.uniform(0, 0.15))
            process.kill()
            assert process.wait() != 0
        index = ArchiveIndex.open(tmp_path / "index")  # readable at any time
        assert all(index.read(position) for position in range(len(index)))
        grown.append(shards(tmp_path / "index"))
        assert len(index) == 5 * grown[-1] < 60
    run([folder], tmp_path / "index", FakeEncoder())
    assert contents(tmp_path / "index") == contents(tmp_path / "undisturbed")
    assert paths(tmp_path / "index") == paths(tmp_path / "undisturbed")
    assert not list((tmp_path / "index").rglob(".tmp*"))


class Killed(BaseException):
    pass


@pytest.mark.parametrize("step", range(12))
def test_a_stop_before_any_write_leaves_a_valid_index(tmp_path, monkeypatch, step):
    """Stop before each file in turn, while shards are appended and one is rewritten."""
    folder = make_folder(tmp_path / "photos", 8)
    run([folder], tmp_path / "index", FakeEncoder())
    before = contents(tmp_path / "index")
    make_photo(999).save(folder / "photo4.png")
    (folder / "photo3.png").write_bytes(b"broken")
    make_folder(folder, 3, first=50)
    real, calls = atomic.write_atomically, []

    def stop(path, write):
        calls.append(path)
        if len(calls) > step:
            path.parent.mkdir(exist_ok=True)
            path.with_name(f".tmp-{path.name}").write_bytes(b"half")
            raise Killed
        real(path, write)

    monkeypatch.setattr(atomic, "write_atomically", stop)
    monkeypatch.setattr(checksums, "write_atomically", stop)
    try:
        run([folder], tmp_path / "index", FakeEncoder())
        assert step >= len(calls)
    except Killed:
        pass
    now = contents(tmp_path / "index")
    assert now.keys() >= before.keys() - {"photo3.png"}
    monkeypatch.undo()
    run([folder], tmp_path / "index", FakeEncoder())
    run([folder], tmp_path / "fresh", FakeEncoder())
    assert contents(tmp_path / "index") == contents(tmp_path / "fresh")
    assert not list((tmp_path / "index").rglob(".tmp*"))
