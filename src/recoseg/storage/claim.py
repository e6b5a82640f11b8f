"""Whose output a folder holds, and whether a run may write to it: one rule for all commands."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from recoseg.errors import FileError, OutputError
from recoseg.storage.reading import read_json

MARKS = ("manifest.json", "settings.json", "pseudo_labels.json")
"""The files that tell by their field `format` what recoseg has written into their folder."""

_OURS = "recoseg-"
_LONGEST = 1 << 24


def format_in(folder: Path) -> str | None:
    """The format of what recoseg has written into a folder, such as `recoseg-index`.

    Returns:
        The format; None if the folder holds no output of recoseg.
    """
    for name in MARKS:
        if (folder / name).is_file():
            try:
                found = read_json(folder / name, _LONGEST).get("format")
            except FileError:
                continue
            if isinstance(found, str) and found.startswith(_OURS):
                return found
    return None


def claim(
    folder: Path,
    form: str,
    entries: Iterable[str],
    *,
    what: str,
    resume: bool = False,
    overwrite: bool = False,
) -> bool:
    """Whether a folder holds an earlier run; refuse to mix outputs. The caller holds the lock.

    Nothing is changed: a caller that overwrites removes what its earlier run has recorded.

    Args:
        folder: The output folder; it may not exist.
        form: The format that this run writes into its mark.
        entries: Names of the files and folders that this run writes.
        what: What the run writes, for messages, such as "masks".
        resume: Whether an earlier run is continued.
        overwrite: Whether an earlier run is replaced.

    Raises:
        OutputError: The folder holds an earlier run, which is neither continued nor replaced, or
            files of these names that no such run has written.
    """
    if resume and overwrite:
        raise OutputError("Expected either --resume or --overwrite, got both.")
    if format_in(folder) == form:
        if resume or overwrite:
            return True
        raise OutputError(
            f"{folder} holds the {what} of an earlier run. Continue it with --resume, replace it "
            "with --overwrite, or write to another folder."
        )
    foreign = sorted(name for name in entries if (folder / name).exists())
    if foreign:
        raise OutputError(
            f"{folder} holds {', '.join(foreign[:3])}, which this command did not write. Nothing "
            "was changed; write to another folder."
        )
    return False
