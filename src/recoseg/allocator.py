"""The memory of the machine: how much there is, and keeping what tensors free in the process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterable, Iterator

from recoseg.control_groups import Group, groups_of
from recoseg.errors import RecosegError

LIMIT = "RECOSEG_MAX_MEMORY"
"""Environment variable: how much memory a single photo may need, GB (10^9 bytes)."""

_UNKNOWN = 16_000_000_000  # assumed where the system does not tell how much memory there is

KEEPING = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_ARENA_MAX": "1",
}
"""Environment variables of glibc for a process that keeps freed memory from its start."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Keep memory that tensors free in the process, instead of returning it to the system.

    This is for programs, not for libraries, because it affects the whole process. By default glibc
    returns large blocks at once, and they are faulted in again page by page, which took half the
    time of `lite`'s forward passes on a CPU. All threads then share one arena, because arenas of
    single threads hold at most 64 MB and are returned, too: indexing with ViT-B/32 in bf16, whose
    model runs in threads, went from 17 to 30 photos/s. Call this before torch is loaded, because
    existing threads keep their arenas. Without glibc it does nothing.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_ARENA_MAX, 1)


def memory_limit() -> int:
    """How much memory a single photo may need, bytes.

    It is `RECOSEG_MAX_MEMORY` if that is set, otherwise the memory of this machine, or of the
    container if that has less.

    Raises:
        RecosegError: The variable is not a number above 0.
    """
    text = os.environ.get(LIMIT, "").strip()
    if not text:
        return min(_physical(), *_of_groups(groups_of("memory")))
    try:
        given = float(text)
    except ValueError:
        given = 0.0
    if not 0 < given < float("inf"):
        raise RecosegError(f"{LIMIT} is {text!r}; expected a number of GB, such as 16.")
    return int(given * 1e9)


def _physical() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not on Windows
        return _UNKNOWN


def _of_groups(groups: Iterable[Group]) -> Iterator[int]:
    """The memory limits of control groups, bytes; groups without a limit are left out."""
    for folder, unified in groups:
        with contextlib.suppress(OSError, ValueError):  # absent, or `max`
            yield int((folder / ("memory.max" if unified else "memory.limit_in_bytes")).read_text())
