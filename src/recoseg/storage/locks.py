"""Locks against other writers of the same output."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar
from pathlib import Path

from filelock import FileLock, Timeout

from recoseg.errors import OutputError
from recoseg.storage.atomic import remove_leftovers
from recoseg.storage.paths import inside

_taken: ContextVar[frozenset[Path]] = ContextVar("taken", default=frozenset())
"""The folders whose lock the caller holds."""


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other writers out of a folder, which is created if it does not exist.

    The lock is the file `.lock` in the folder. It ends with the process, however that ends. A
    function that is called while its caller holds the lock may take it again. If an error ends the
    caller before it has written anything, the lock is removed, and so is a folder that was new.

    Raises:
        OutputError: Another process is writing to the folder, or it cannot be written to.
    """
    created = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        real = folder.resolve()
        before = set(folder.iterdir())
    except OSError as error:
        raise OutputError(f"Cannot write to {folder}: {error.strerror or error}.") from error
    if real in _taken.get():
        yield
        return
    lock = inside(folder, ".lock")
    with _lock(lock, folder):
        token = _taken.set(_taken.get() | {real})
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                if set(folder.iterdir()) - before == {lock}:  # it came before any file
                    lock.unlink()
                    if created:
                        folder.rmdir()
            raise
        finally:
            _taken.reset(token)


@contextlib.contextmanager
def lock_file(path: Path) -> Iterator[None]:
    """Keep other writers away from a file, and remove what killed writers of it have left.

    The lock is the hidden file `.NAME.lock` beside it. It ends with the process. If an error ends
    the caller before it has written the file, a lock that was new is removed.

    Raises:
        OutputError: Another process is writing the file.
        FileError: The lock is a link to another folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = inside(path.parent, f".{path.name}.lock")
    before, is_new = _state(path), not lock.exists()
    with _lock(lock, path):
        remove_leftovers(path.parent, path.name)
        try:
            yield
        except BaseException:
            if is_new and _state(path) == before:
                with contextlib.suppress(OSError):
                    lock.unlink()
            raise


def _state(path: Path) -> tuple[int, int] | None:
    """What tells a file from the one that replaces it; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


@contextlib.contextmanager
def _lock(lock: Path, what: Path) -> Iterator[None]:
    try:
        held = FileLock(lock).acquire(timeout=0)
    except Timeout as error:
        raise OutputError(
            f"Another process is writing to {what}. Wait for it, or choose another place."
        ) from error
    except OSError as error:
        raise OutputError(f"Cannot write to {what}: {error.strerror or error}.") from error
    with held:
        handles = _handles(lock)
        _held.update(handles)
        try:
            yield
        finally:
            _held.difference_update(handles)


_held: set[int] = set()
"""The handles of the lock files that this process holds open."""


def _handles(lock: Path) -> set[int]:
    """The handles by which this process holds a file open; none on systems that cannot fork."""
    found, listing, wanted = set(), Path("/dev/fd"), lock.stat()
    for path in listing.iterdir() if listing.is_dir() else ():
        with contextlib.suppress(OSError):  # the handle of the listing itself
            if os.path.samestat(os.fstat(int(path.name)), wanted):
                found.add(int(path.name))
    return found


def _let_go() -> None:
    """Close the locks in a forked process, which would otherwise outlive their owner in it."""
    for handle in _held:
        with contextlib.suppress(OSError):
            os.close(handle)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_let_go)
