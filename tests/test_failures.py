"""What commands print when they fail: one line and an exit code, or a log for faults of recoseg."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from recoseg.cli import failures
from recoseg.cli.failures import describe
from recoseg.errors import RecosegError
from tests.command import run
from tests.segmentation.fakes import make_bank

NUMBERS = [
    *("ENOSPC", "EROFS", "EACCES", "EPERM", "EDQUOT", "EMFILE", "ENFILE", "ENAMETOOLONG", "EISDIR"),
    *("ENOTDIR", "EIO", "ELOOP", "ENOMEM", "EBUSY", "EFBIG", "ESTALE", "ENOENT", "EXDEV", "EINVAL"),
]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("RECOSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def bank(tmp_path):
    make_bank().save(tmp_path / "bank.safetensors")
    return tmp_path / "bank.safetensors"


def failing(monkeypatch, error):
    """Let every bank raise an error when it is loaded."""

    def load(path):
        raise error

    monkeypatch.setattr("recoseg.concepts.ConceptBank.load", load)
    return run("inspect", "b")


@pytest.mark.parametrize("name", NUMBERS)
def test_errors_of_the_system_are_one_line(monkeypatch, name):
    number = getattr(errno, name)
    result = failing(monkeypatch, OSError(number, os.strerror(number), "/data/photos.tar"))
    assert result.code == 1
    assert result.err.startswith("Error: Cannot use /data/photos.tar: ")
    assert result.err.count("\n") == 1
    assert "Traceback" not in result.err
    assert "fault of recoseg" not in result.err


def test_a_full_disk_says_what_to_do(monkeypatch):
    result = failing(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    assert "the disk is full. Free some space there" in result.err
    assert run("inspect", "b").code == 1


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
        RuntimeError("CUDA out of memory. Tried to allocate"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] . DefaultCPUAllocator: can't allocate memory: you "
            "tried to allocate 4000000000000000 bytes. Error code 12 (Cannot allocate memory)"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    ],
)
def test_memory_that_is_used_up_is_one_line(monkeypatch, error):
    result = failing(monkeypatch, error)
    assert (result.code, result.err.count("\n")) == (1, 1)
    assert "is used up. Use smaller batches" in result.err


def test_torch_itself_runs_out_of_memory(monkeypatch):
    with pytest.raises(RuntimeError) as info:
        torch.empty(1 << 58)
    assert "is used up" in failing(monkeypatch, info.value).err


def test_errors_without_a_number():
    assert describe(ConnectionError("reset")) == "The connection failed: reset. Check the network."
    assert describe(TimeoutError()) == "The connection failed: TimeoutError. Check the network."
    refused = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
    assert describe(refused).startswith("The connection failed: ")
    lost = TimeoutError(errno.ETIMEDOUT, "Connection timed out", "/nfs/a.jpg")
    assert describe(lost) == "Cannot use /nfs/a.jpg: Connection timed out."
    rust = RuntimeError("Error while serializing: I/O error: No space left (os error 28)")
    assert "the disk is full" in describe(rust)
    assert describe(RecosegError("two\nlines")) == "two\nlines"
    assert describe(OSError(errno.ENOSPC, "full", b"/a\xff")).startswith("Cannot use /a\udcff: ")
    assert describe(ValueError("x")) is None
    assert describe(RuntimeError("x")) is None


def test_names_in_errors_do_not_act_on_the_terminal(monkeypatch):
    error = RecosegError("There is no \x1b[2J\x9b\u202e\udcff.jpg.\nNo more.")
    assert failing(monkeypatch, error).err == (
        "Error: There is no \\x1b[2J\\x9b\\u202e\\udcff.jpg.\nNo more.\n"
    )
    usage = run("inspect", "a", "b\x1b[31m")
    assert usage.code == 2
    assert "b\\x1b[31m" in usage.err
    long = failing(monkeypatch, RecosegError("x" * 10**6))
    assert len(long.err) < 5_000


def test_a_fault_is_logged_and_says_how_to_report_it(monkeypatch, cache):
    url = "s3://me:secret@host/x"
    result = failing(monkeypatch, ZeroDivisionError(f"at {url} \udcff"))
    assert result.code == 1
    assert "fault of recoseg (ZeroDivisionError: " in result.err
    assert "SECURITY.md" in result.err
    assert "Traceback" not in result.err
    [log] = (cache / "logs").iterdir()
    assert str(log) in result.err
    text = log.read_text(encoding="utf-8")
    assert "Traceback (most recent call last)" in text
    assert "ZeroDivisionError" in text
    assert "Command: ['recoseg', 'inspect', 'b']" in text
    assert f"torch {torch.__version__}".split("+")[0] in text
    assert "s3://...@host/x" in text
    assert "secret" not in text


def test_the_number_and_the_size_of_logs_are_bounded(monkeypatch, cache):
    (cache / "logs").mkdir(parents=True)
    for number in range(30):
        (cache / "logs" / f"20200101-0000{number:02}-1.log").write_text("old")
    (cache / "logs" / "notes.txt").write_text("not a log")
    failing(monkeypatch, ValueError("y" * 3_000_000))
    logs = sorted((cache / "logs").glob("*.log"))
    assert len(logs) == failures.LOGS
    assert logs[-1].stat().st_size < 1_200_000
    assert (cache / "logs" / "notes.txt").exists()


def test_without_a_log_the_traceback_is_printed(monkeypatch, cache):
    cache.write_text("a file where a folder is expected")
    result = failing(monkeypatch, ValueError("odd"))
    assert result.code == 1
    assert "fault of recoseg (ValueError: odd)" in result.err
    assert "Traceback" in result.err


def test_an_interruption(monkeypatch):
    result = failing(monkeypatch, KeyboardInterrupt())
    assert (result.code, result.err) == (130, "Interrupted.\n")


SLEEPS = """
import sys, time
import recoseg.concepts
def load(path):
    print("begun", flush=True)
    time.sleep(60)
recoseg.concepts.ConceptBank.load = load
sys.argv = ["recoseg", "inspect", "x"]
from recoseg.cli import main
main()
"""


@pytest.mark.skipif(os.name == "nt", reason="signals differ")
def test_an_interruption_by_the_keyboard(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", SLEEPS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout.readline() == b"begun\n"
        time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert (process.returncode, err) == (130, b"Interrupted.\n")


def command(*arguments, stdout, **variables):
    return subprocess.run(
        [sys.executable, "-m", "recoseg", *map(str, arguments)],
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=os.environ | variables,
        check=False,
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has this device")  # noqa: PTH110
@pytest.mark.parametrize("arguments", [["datasets"], ["--help"]])
def test_a_full_standard_output(arguments):
    with open("/dev/full", "wb") as full:  # noqa: PTH123
        done = command(*arguments, stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith(b"Error: ")
    assert b"the disk is full" in done.stderr
    assert done.stderr.count(b"\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="pipes differ")
@pytest.mark.parametrize("options", [[], ["--json"]])
def test_nobody_reads_the_output(bank, options):
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = command("inspect", bank, *options, stdout=writer)
    finally:
        os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_another_broken_pipe_is_told(monkeypatch):
    result = failing(monkeypatch, BrokenPipeError(errno.EPIPE, "Broken pipe"))
    assert result.code == 1
    assert "Broken pipe" in result.err
