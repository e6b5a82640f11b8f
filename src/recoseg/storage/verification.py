"""What a check of an output has found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Verification:
    """The result of checking the files of an output.

    Attributes:
        what: What was checked, such as "index".
        checked: Number of files that were compared with their checksum.
        unchecked: Number of files without a recorded checksum.
        problems: What is damaged or missing, one sentence each; empty if all is well.
    """

    what: str
    checked: int
    unchecked: int
    problems: tuple[str, ...]
