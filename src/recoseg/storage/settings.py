"""The settings of an earlier run, which decide whether it can be resumed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from recoseg.errors import FileError, OutputError
from recoseg.storage.reading import MAX_TEXT, read_json
from recoseg.storage.sealed import read_sealed

CHECKSUMS = "checksums"
"""The setting that holds the checksums of the files that are written with the settings."""


_MARKS = ("format", "run", "checksum", CHECKSUMS)
"""Fields of `settings.json` that say what it belongs to and decide nothing."""


def stored_settings(path: Path) -> dict[str, Any]:
    """All that decided the output of a run, from its `settings.json`.

    Raises:
        FileError: The file is missing, damaged or cannot be read.
    """
    return {name: value for name, value in read_json(path).items() if name not in _MARKS}


def check_resumable(path: Path, ours: dict[str, Any], what: str) -> None:
    """Refuse to resume a run that was made with other settings.

    Args:
        path: The file that holds the earlier run's settings.
        ours: The settings of this run, as values of JSON.
        what: What the earlier run has written, such as "masks".

    Raises:
        OutputError: The settings differ, and the message names those that do; or the file is
            damaged.
    """
    try:
        theirs, has_checksum = read_sealed(path, MAX_TEXT)
    except FileError as error:
        raise OutputError(f"{error} Write to another folder.") from error
    ours = json.loads(json.dumps(ours))  # tuples become lists, so that they compare equal
    if not has_checksum:
        ours.pop(CHECKSUMS, None)  # early versions recorded none
    if theirs != ours:
        changed = sorted(_changed(theirs, ours))
        raise OutputError(
            f"The {what} in {path.parent} were made with other settings ({', '.join(changed)}). "
            "Use those to resume, replace them with --overwrite, or write to another folder."
        )


def _changed(theirs: Mapping[str, Any], ours: Mapping[str, Any], group: str = "") -> Iterator[str]:
    """The names of the settings that differ; those of a group as `GROUP.NAME`."""
    for name in ours.keys() | theirs.keys():
        before, now = theirs.get(name), ours.get(name)
        if isinstance(before, dict) and isinstance(now, dict):
            yield from _changed(before, now, f"{group}{name}.")
        elif before != now:
            yield f"{group}{name}"
