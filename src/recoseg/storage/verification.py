"""The result of checking stored files against their recorded checksums."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verification:
    """What a check of stored files found.

    Attributes:
        what: What the files are, such as "index".
        checked: Number of files whose checksum was compared.
        unchecked: Number of files without a recorded checksum; early versions recorded none.
        problems: One line for each problem; empty if none was found.
    """

    what: str
    checked: int
    unchecked: int
    problems: tuple[str, ...]
