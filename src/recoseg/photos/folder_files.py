"""The files directly in a folder, without those that other systems have put there."""

from __future__ import annotations

from pathlib import Path

from recoseg.photos.refs import natural_key
from recoseg.photos.walk import is_passed_over


def files_of(folder: Path, pattern: str) -> list[Path]:
    """The files directly in a folder that a glob matches and that are not passed over, in order.

    Macs put a hidden file `._NAME` beside each file on disks of other systems.
    """
    found = (path for path in folder.glob(pattern) if not is_passed_over(path.name))
    return sorted(found, key=lambda path: natural_key(path.name))
