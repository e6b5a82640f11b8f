"""Locks end with their process, and the cache folder is the one of the system."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from recoseg.errors import OutputError
from recoseg.storage.cache import cache_folder
from recoseg.storage.locks import lock_file, lock_folder

HOLDER = """
import sys, time
from pathlib import Path
from recoseg.storage.locks import lock_folder
with lock_folder(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(100)
"""


def test_a_lock_is_refused_at_once_and_ends_with_its_process(tmp_path):
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline().strip() == b"locked"
        started = time.monotonic()
        with pytest.raises(OutputError, match="Another process is writing to"):
            lock_folder(tmp_path).__enter__()
        assert time.monotonic() - started < 2
        process.kill()
        process.wait()
    with lock_folder(tmp_path):
        pass
    with lock_folder(tmp_path):
        pass


def test_errors_within_the_lock_pass_and_free_it(tmp_path):
    with pytest.raises(KeyError), lock_folder(tmp_path):
        raise KeyError("x")
    with lock_folder(tmp_path):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other folders")
def test_a_refusal_leaves_no_lock(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    (old / "mine.txt").write_text("kept")
    for folder in (old, new):
        with pytest.raises(ValueError, match="refused"), lock_folder(folder):
            raise ValueError("refused")
    assert [path.name for path in old.iterdir()] == ["mine.txt"]
    assert not new.exists()
    for name in ("mine.txt", "gone.txt"):
        with pytest.raises(ValueError, match="refused"), lock_file(old / name):
            raise ValueError("refused")
    assert [path.name for path in old.iterdir()] == ["mine.txt"]


def write_and_fail(path):
    path.touch()
    raise ValueError("late")


def test_the_lock_stays_where_something_was_written(tmp_path):
    with pytest.raises(ValueError, match="late"), lock_folder(tmp_path / "folder"):
        write_and_fail(tmp_path / "folder" / "part")
    assert sorted(path.name for path in (tmp_path / "folder").iterdir()) == [".lock", "part"]
    with pytest.raises(ValueError, match="late"), lock_file(tmp_path / "bank"):
        write_and_fail(tmp_path / "bank")
    assert (tmp_path / ".bank.lock").exists()
    with pytest.raises(ValueError, match="refused"), lock_folder(tmp_path / "folder"):
        raise ValueError("refused")
    assert (tmp_path / "folder" / ".lock").exists()  # of the earlier writer


def test_cache_folder_of_linux(monkeypatch, tmp_path):
    for name in ("RECOSEG_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder("weights") == tmp_path / ".cache" / "recoseg" / "weights"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder("weights") == tmp_path / "xdg" / "recoseg" / "weights"


def test_the_variable_comes_first(monkeypatch):
    monkeypatch.setenv("RECOSEG_CACHE", os.path.join("~", "own"))  # noqa: PTH118
    assert cache_folder("indexes") == Path.home() / "own" / "indexes"


FORKING = """
import os, sys, time
from pathlib import Path
from recoseg.storage.locks import lock_folder
with lock_folder(Path(sys.argv[1])):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(100)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_lock_does_not_live_on_in_a_forked_process(tmp_path):
    command = [sys.executable, "-c", FORKING, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        child = int(process.stdout.readline())
        try:
            time.sleep(0.5)  # the child closes the lock
            with pytest.raises(OutputError):
                lock_folder(tmp_path).__enter__()
            process.kill()
            process.wait()
            with lock_folder(tmp_path):
                os.kill(child, 0)  # it is alive
        finally:
            os.kill(child, signal.SIGKILL)
