"""What a check of stored files has found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verification:
    """The result of comparing stored files with their recorded checksums.

    Attributes:
        what: What was checked, in words, such as `masks in out`.
        checked: Number of files that were compared with a recorded checksum.
        unchecked: Number of files without a recorded checksum.
        problems: What is wrong, one sentence each; empty where nothing is.
    """

    what: str
    checked: int
    unchecked: int
    problems: tuple[str, ...]
