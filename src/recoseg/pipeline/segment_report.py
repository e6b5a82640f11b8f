"""What a run of `recoseg segment` has done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from recoseg.pipeline.convert_report import ConvertReport


@dataclass(frozen=True)
class SegmentReport:
    """Results of a run.

    Attributes:
        photos: Number of photos that were found.
        failures: Reason for each photo that could not be segmented, by path.
        formats: The report of the formats of other tools; None if none was asked for.
        page: The page of all photos with their masks; None if none was asked for.
    """

    photos: int
    failures: dict[str, str]
    formats: ConvertReport | None = None
    page: Path | None = None
