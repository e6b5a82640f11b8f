"""Whose output a folder holds, and whether a run may write to it: one rule for all commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from recoseg.errors import FileError, OptionError, OutputError
from recoseg.storage.paths import inside
from recoseg.storage.reading import read_json

MARKS = ("manifest.json", "settings.json", "pseudo_labels.json")
"""The files that tell by their field `format` what recoseg has written into their folder."""

MAX_MARK = 1 << 24
"""Maximum size of such a file, bytes."""

_OURS = "recoseg-"


def format_in(folder: Path) -> str | None:
    """The format of what recoseg has written into a folder, such as `recoseg-index`.

    Returns:
        The format; None if the folder holds no output of recoseg.
    """
    return next(iter(_marks(folder)[0].values()), None)


def damage_in(folder: Path) -> FileError | None:
    """What is wrong with the file that says what recoseg has written into a folder, if it is."""
    return next(iter(_marks(folder)[1]), None)


def _marks(folder: Path) -> tuple[dict[str, str], list[FileError]]:
    """The formats of recoseg in a folder, by mark, and what is wrong with damaged marks."""
    formats, damaged = {}, []
    for name in MARKS:
        if (folder / name).is_file():
            try:
                found = own_format(read_json(folder / name, MAX_MARK))
            except FileError as error:
                damaged.append(error)
                continue
            if found is not None:
                formats[name] = found
    return formats, damaged


def own_format(fields: Mapping[str, Any]) -> str | None:
    """The format that the fields of a mark name; None if it is not one of recoseg's."""
    found = fields.get("format")
    return found if isinstance(found, str) and found.startswith(_OURS) else None


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
        entries: Names of the files and folders that this run writes. None may be a link that
            leads out of the folder.
        what: What the run writes, for messages, such as "masks".
        resume: Whether an earlier run is continued.
        overwrite: Whether an earlier run is replaced.

    Raises:
        OutputError: The folder holds an earlier run, which is neither continued nor replaced, the
            output of another command, or files of these names that no such run has written.
        FileError: A link leads out of the folder.
    """
    entries = list(entries)
    if resume and overwrite:
        raise OptionError("Expected either --resume or --overwrite, got both.")
    formats, damaged = _marks(folder)
    others = [name for name, found in formats.items() if found != form]
    if others:
        raise OutputError(
            f"{folder} holds the output of another command of recoseg, as {others[0]} says "
            f"({formats[others[0]][:80]!r}). Nothing was changed; write to another folder."
        )
    for name in entries:
        inside(folder, name)
    if formats:
        if resume or overwrite:
            return True
        raise OutputError(
            f"{folder} holds the {what} of an earlier run. Continue it with --resume, replace it "
            "with --overwrite, or write to another folder."
        )
    foreign = sorted(name for name in entries if (folder / name).exists())
    if foreign and damaged:
        raise OutputError(
            f"{damaged[0]} So it is not known what wrote {folder}. Nothing was changed; write to "
            "another folder, or delete this one if it is an output of recoseg."
        )
    if foreign:
        raise OutputError(
            f"{folder} holds {', '.join(foreign[:3])}, which this command did not write. Nothing "
            "was changed; write to another folder."
        )
    return False
