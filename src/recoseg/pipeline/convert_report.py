"""What a run of `recoseg convert` has done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ConvertReport:
    """Results of a run.

    Attributes:
        photos: Number of photos.
        failures: Reason for each photo that was left out, by path.
        folders: The folder of each format, by its name.
        notes: What to know about the files, in sentences.
    """

    photos: int
    failures: dict[str, str]
    folders: dict[str, Path]
    notes: tuple[str, ...] = ()
