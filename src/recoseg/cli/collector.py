"""Python's garbage collector, which looks at every object of the libraries that were imported."""

from __future__ import annotations

import gc
import sys

_THRESHOLDS = (5_000, 10, 1_000)
"""Those of the collector while modules are imported: new objects after which the young ones are
looked at, and how often until the older ones and all are."""

_QUIET = 20
"""Collections without a new module after which imports are over."""


def collect_after_imports() -> None:
    """Look at young objects alone while modules are imported.

    This is for programs, not for libraries, because it affects the whole process. By default all
    objects are looked at six times while torch and timm are imported, a fifth of the time, and
    hardly one of them is garbage. When no more modules come, garbage is collected as usual, and
    what is there by then is passed over.
    """
    usual, known, quiet = gc.get_threshold(), len(sys.modules), 0

    def look(phase: str, _: dict[str, int]) -> None:
        nonlocal known, quiet
        if phase != "stop" or quiet == _QUIET:
            return
        quiet = quiet + 1 if len(sys.modules) <= known else 0
        known = len(sys.modules)
        if quiet == _QUIET:
            gc.freeze()
            gc.set_threshold(*usual)

    gc.callbacks.append(look)
    gc.set_threshold(*_THRESHOLDS)


def end_without_collecting() -> None:
    """Let the process end without looking for garbage, which would take up to a second.

    Call this last: whatever is in a cycle is never finalised.
    """
    gc.freeze()
