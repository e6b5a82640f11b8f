"""What a check of stored files has found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verification:
    """What a check of an output has found.

    Attributes:
        what: What was checked, such as `concept bank`.
        checked: Number of files whose checksums were compared with the recorded ones.
        unchecked: Number of files without a recorded checksum; early versions recorded none.
        problems: What is wrong, one line each.
    """

    what: str
    checked: int
    unchecked: int
    problems: tuple[str, ...]
