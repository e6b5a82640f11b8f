"""The processor cores that this process may use, and how it shares them with other programs."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Iterator

from recoseg.control_groups import Group, groups_of

_POLICY = "OMP_WAIT_POLICY"
_THREADS = "OMP_NUM_THREADS"

SHARING = {_POLICY: "passive", "GOMP_SPINCOUNT": "1000"}
"""Environment variables for a process that shares its cores from its start. The second is for GNU's
OpenMP, which PyTorch's packages for Linux bring: its threads wait in a loop for some microseconds,
which most parallel steps are apart, before they sleep."""


def usable_cores() -> int:
    """The number of cores that this process may use: 1 or more.

    It counts the cores that the process may run on, and no more than the quota of its container,
    rounded up. The number of cores of the machine may be far higher; with more threads than the
    quota allows, all of them are stopped for a part of every period.
    """
    return min([_allowed(), *(math.ceil(quota) for quota in _quotas(groups_of("cpu")))])


def share_cores() -> None:
    """Let the threads of this process wait without using their cores, and start no more than fit.

    This is for programs, not for libraries, because it affects the whole process. Call it before
    torch is loaded, whose OpenMP reads the environment then. Variables that are set already stay.

    By default, OpenMP's threads wait in a loop for the next parallel step. That saves a few
    microseconds if each thread has a core of its own. If two programs share the cores, the loops
    take the time that the slowest thread of each step needs: two runs of `segment --refine pamr`
    side by side on two cores took 4 times the processor time, and each ran at a sixth of the rate.
    Without any loop, a run that is alone would lose a fifth to a third of its rate.
    """
    if _POLICY not in os.environ:
        for name, value in SHARING.items():
            os.environ.setdefault(name, value)
    if usable_cores() < _allowed():  # OpenMP knows the cores of the process, but no quota
        os.environ.setdefault(_THREADS, str(usable_cores()))


def _allowed() -> int:
    """The number of cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _quotas(groups: Iterable[Group]) -> Iterator[float]:
    """How many cores' time each group may use; groups without a limit are left out."""
    for folder, unified in groups:
        with contextlib.suppress(OSError, ValueError):  # absent, or `max`
            if unified:
                quota, period = (int(part) for part in (folder / "cpu.max").read_text().split())
            else:
                quota = int((folder / "cpu.cfs_quota_us").read_text())
                period = int((folder / "cpu.cfs_period_us").read_text())
            if quota > 0 and period > 0:  # -1 for no limit
                yield quota / period
