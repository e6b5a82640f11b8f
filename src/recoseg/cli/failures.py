"""What a command prints when it fails: one line for what can happen, a log for faults of recoseg.

Exit codes, the same for all commands: 0 done; 1 refused, failed, or nothing could be used; 2 wrong
usage; 130 interrupted.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import importlib.metadata
import io
import logging
import os
import platform
import re
import select
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from recoseg.cli.output import naming
from recoseg.errors import OptionError, RecosegError
from recoseg.storage.atomic import write_bytes
from recoseg.storage.cache import cache_folder
from recoseg.storage.shown import shown_lines

FAILED = 1
WRONG_USAGE = 2
INTERRUPTED = 130

LOGS = 20
"""Number of logs that are kept; older ones are removed."""

_LONGEST = 4_000  # characters of a message
_LONGEST_LOG = 1_000_000
_FULL = "Free some space there, or choose another place, and run the command again."
_ALLOWED = "Check the permissions, or choose another place."
_NAMED = {
    "ENOSPC": f"the disk is full. {_FULL}",
    "EDQUOT": f"your share of the disk is used up. {_FULL}",
    "EFBIG": "the file system cannot hold a file of this size. Choose another place.",
    "EROFS": "the file system can only be read. Choose another place.",
    "EACCES": f"permission is denied. {_ALLOWED}",
    "EPERM": f"the operation is not permitted. {_ALLOWED}",
    "EMFILE": "too many files are open. Raise the limit (`ulimit -n`).",
    "ENFILE": "too many files are open on this machine. Close other programs.",
    "ENAMETOOLONG": "the name is too long for the file system. Choose a shorter one.",
    "EISDIR": "it is a folder; a file was expected.",
    "ENOTDIR": "a part of the path is a file; a folder was expected.",
    "ENOENT": "it does not exist.",
    "EEXIST": "it exists already.",
    "ENOTEMPTY": "the folder is not empty.",
    "ELOOP": "its links lead in a circle.",
    "EXDEV": "it is on another file system.",
    "EIO": "the disk reports an error. Check the disk, or choose another place.",
    "ENXIO": "the device does not answer.",
    "ENODEV": "the device does not exist.",
    "ESTALE": "the network file system has lost it. Mount it again.",
    "EBUSY": "another program uses it.",
    "ETXTBSY": "another program uses it.",
    "ENOMEM": "the memory is used up. Close other programs, or use smaller batches.",
    "EAGAIN": "the system has no room for another process or thread. Close other programs.",
    "EINVAL": "the file system refuses the request. Choose another place.",
}
_REASONS = {getattr(errno, name): text for name, text in _NAMED.items() if hasattr(errno, name)}
_MEMORY = (
    "The memory of {0} is used up. Use smaller batches (--batch-size), a smaller input (--resize, "
    "--image-size, --crop) or windows (--window) where the command has them, or close other "
    "programs."
)
_OUT_OF_MEMORY = re.compile(
    r"not enough memory|can't allocate memory|cannot allocate memory|out of memory|bad_alloc", re.I
)
_RUST = re.compile(r"\(os error (\d+)\)")  # how libraries written in Rust report errors of files


def guarded(command: Callable[..., None]) -> Callable[..., None]:
    """The command, which ends with a message and an exit code whatever it raises."""

    @functools.wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        try:
            command(*arguments, **options)
            _flush_streams()
        except typer.Exit:
            raise
        except (Exception, KeyboardInterrupt) as error:
            raise typer.Exit(end(error)) from None

    return run


def end(error: BaseException) -> int:
    """Print why a command ends, on standard error.

    Args:
        error: What the command raised.

    Returns:
        The exit code.
    """
    if isinstance(error, KeyboardInterrupt):
        _print(str(error) or "Interrupted.")
        return INTERRUPTED
    if hasattr(error, "show") and hasattr(error, "exit_code"):  # typer's, which has no public name
        usage = io.StringIO()
        error.show(usage)
        _print(usage.getvalue().rstrip())
        return int(error.exit_code)
    if isinstance(error, BrokenPipeError) and _reader_is_gone():
        return FAILED
    reason = describe(error)
    _print(f"Error: {_report(error) if reason is None else reason}")
    return WRONG_USAGE if isinstance(error, OptionError) else FAILED


def describe(error: BaseException) -> str | None:
    """What the user is told of an error that can happen in a program without faults.

    Returns:
        What happened and what to do; None if the error is a fault of the program.

    Example:
        >>> describe(OSError(28, "No space left on device", "masks/a.png"))[:41]
        'Cannot use masks/a.png: the disk is full.'
    """
    if isinstance(error, RecosegError):
        return str(error)
    text = str(error)
    if type(error).__name__ == "OutOfMemoryError":  # of torch, which need not be imported
        return _MEMORY.format("the accelerator")
    if isinstance(error, MemoryError):
        return _MEMORY.format("this machine")
    if isinstance(error, RuntimeError) and _OUT_OF_MEMORY.search(text):
        place = "the accelerator" if re.search("CUDA|HIP|MPS", text) else "this machine"
        return _MEMORY.format(place)
    if isinstance(error, OSError):
        if error.filename is None and _is_of_network(error):
            return f"The connection failed: {text or type(error).__name__}. Check the network."
        if error.errno is not None:
            return _of_system(error.errno, error.strerror, error.filename)
    rust = _RUST.search(text)
    return None if rust is None else _of_system(int(rust[1]), text, None)


def _is_of_network(error: OSError) -> bool:
    """Whether an error is one of connections, or of a library for HTTP."""
    packages = ("requests.", "urllib", "http.", "aiohttp.", "httpx.", "socket", "ssl", "botocore.")
    connection = isinstance(error, ConnectionError | TimeoutError)
    return connection or type(error).__module__.startswith(packages)


def _of_system(number: int, text: str | None, name: object) -> str:
    reason = _REASONS.get(number, f"{text or os.strerror(number)}.")
    if name is None or isinstance(name, int):
        return f"A file cannot be read or written: {reason}"
    return f"Cannot use {os.fsdecode(name) if isinstance(name, bytes) else name}: {reason}"


def _report(error: BaseException) -> str:
    """Write a log of an unknown error, and say where it is and how to report it."""
    what = f"{type(error).__name__}: {error}"[:300]
    head = f"This is a fault of recoseg ({what}).\n"
    how = (
        "to the developers of recoseg; the file SECURITY.md of its source code says how. It holds "
        "the command with its paths: remove what is private."
    )
    text = _log_text(error)
    try:
        path = _write_log(text)
    except OSError as problem:
        text = f"{text[-3_000:]}\n(No log: {problem})"
        return f"{head}Please report it with the text below {how}\n{text}"
    return f"{head}Please report it with the log {path} {how}"


def _log_text(error: BaseException) -> str:
    """Versions, the command and the traceback, without the passwords of URLs."""
    versions = [f"Python {platform.python_version()}", platform.platform()]
    for package in ("recoseg", "torch", "numpy", "pillow", "pyarrow", "safetensors", "fsspec"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{package} {importlib.metadata.version(package)}")
    trace = "".join(traceback.format_exception(error))
    half = _LONGEST_LOG // 2
    if len(trace) > _LONGEST_LOG:
        trace = f"{trace[:half]}\n...\n{trace[-half:]}"
    text = "\n".join([", ".join(versions), f"Command: {sys.argv!r}", "", trace])
    return re.sub(r"(\w://)[^/\s@'\"]*@", r"\1...@", text)


def _write_log(text: str) -> Path:
    """Write a log into the cache folder, and remove the oldest ones."""
    folder = cache_folder("logs")
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    path = folder / f"{stamp}-{os.getpid()}.log"
    write_bytes(path, text.encode("utf-8", "backslashreplace"))
    for old in sorted(folder.glob("*-*.log"))[:-LOGS]:
        old.unlink(missing_ok=True)
    return path


def prepare_streams() -> None:
    """Let standard output and error take any character: what they cannot hold becomes an escape.

    Warnings are printed as all other messages, without the line of code that they come from. Those
    of Pillow are about metadata that does not matter; what does matter is raised.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")
    warnings.formatwarning = _in_plain_words
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    if logging.lastResort is not None:  # what prints warnings where no logging is set up
        logging.lastResort.setFormatter(_Visible())


def _in_plain_words(message: Warning | str, *_: object, **__: object) -> str:
    return f"{shown_lines(message)}\n"


class _Visible(logging.Formatter):
    """Formats messages of the log, which may hold names, as all others are printed."""

    def format(self, record: logging.LogRecord) -> str:
        return shown_lines(super().format(record))


def _flush_streams() -> None:
    """Write what is left in the buffers, whose errors would otherwise come after the end.

    Raises:
        OSError: A stream cannot be written.
    """
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            with naming(stream):
                stream.flush()


def give_up_streams() -> None:
    """Drop the output of streams that cannot be written, so that Python ends without an error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, stream.fileno())
                os.close(nothing)


def _reader_is_gone() -> bool:
    """Whether nobody reads the output any more, as after `recoseg retrieve ... | head`."""
    if not hasattr(select, "poll"):
        return True
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):
            poll = select.poll()
            poll.register(stream.fileno(), 0)
            if any(event & select.POLLERR for _, event in poll.poll(0)):
                return True
    return False


def _print(text: str) -> None:
    """Print a message on standard error, if that can be written."""
    short = text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."
    with contextlib.suppress(OSError, ValueError, AttributeError):
        print(shown_lines(short), file=sys.stderr, flush=True)
