"""Python's garbage collector, which looks at every object of the libraries that were imported."""

from __future__ import annotations

import gc

_NEW_OBJECTS, _YOUNG, _OLD = 50_000, 10, 10


def collect_seldom() -> None:
    """Collect garbage less often, in the whole process.

    This is for programs, not for libraries. By Python's own thresholds all objects are looked at
    six times while torch and timm are imported, and hardly one of them is garbage: a quarter of the
    time. What is not part of a cycle is freed at once in any case, tensors among it.
    """
    gc.set_threshold(_NEW_OBJECTS, _YOUNG, _OLD)


def end_without_collecting() -> None:
    """Let the process end without looking for garbage, which would take up to a second.

    Call this last: whatever is in a cycle is never finalised.
    """
    gc.freeze()
