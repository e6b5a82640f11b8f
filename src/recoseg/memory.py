"""How the process holds on to memory."""

from __future__ import annotations

import contextlib
import ctypes
import sys

KEEPING = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_ARENA_MAX": "1",
}
"""Environment of a process that is to keep freed memory from its start; the names are glibc's."""

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8  # glibc's malloc.h


def keep_freed_memory() -> None:
    """Let the process keep the memory that its tensors give back, instead of the system.

    For programs, not for libraries: it holds for the whole process. Where the C library is glibc,
    large blocks are otherwise returned at once and faulted in again page by page, which took half
    the time of `lite`'s forward passes on a CPU. All threads share one arena, since those of their
    own hold at most 64 MB and are given back: indexing with ViT-B/32 in bf16, whose model runs in
    threads, went from 17 to 30 photos/s. Call it before torch is loaded, whose threads keep the
    arenas they have. Elsewhere nothing is done.
    """
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(_M_ARENA_MAX, 1)
