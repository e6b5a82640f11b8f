"""How to repair a shard: what to delete so that the next run makes it anew."""

from __future__ import annotations

import re
from pathlib import Path

_NUMBER = re.compile(r"_(\d+)$")


def repair_advice(path: Path, command: str = "recoseg index") -> str:
    """What to do about a damaged file of a shard, in a sentence.

    Args:
        path: The file.
        command: The command that wrote it.
    """
    number = _NUMBER.search(path.stem)
    marker = path.parent.parent / "shards" / f"shard_{number[1]}.json" if number else None
    if marker is not None and marker.is_file():
        return f"Delete {marker} and run `{command}` again, which makes this shard anew."
    return f"Run `{command}` again with another folder."
