"""Photos that are left out because a list names them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from recoseg.datasets.folder_layout import chosen_names, shown_names
from recoseg.errors import DatasetError
from recoseg.photos.refs import composed
from recoseg.storage.reading import read_lines

_EXPECTED = "Expected a text file with the names of the photos to leave out, one per line."


def names_left(names: Sequence[str], exclude: str | Path) -> list[str]:
    """The names of photos that a list does not leave out, in order.

    Args:
        names: Names of all photos.
        exclude: A text file with names, one per line: the whole name, or its last part if that is
            unique; suffixes of photos are ignored, and so are empty lines and lines with #.

    Raises:
        DatasetError: There is no such file, it holds no name, a name is not that of a photo, or no
            photo is left.
        FileError: The file cannot be read or is not UTF-8.
    """
    if not Path(exclude).is_file():
        raise DatasetError(f"There is no file {exclude}. {_EXPECTED}")
    lines = [composed(line.strip(" \t")) for line in read_lines(Path(exclude))]
    listed = [line for line in lines if line and not line.startswith("#")]
    if not listed:
        raise DatasetError(f"{exclude} names no photo. {_EXPECTED}")
    found, unknown = chosen_names(names, listed)
    if unknown:
        raise DatasetError(
            f"{len(unknown)} of {len(listed)} names in {exclude} are not names of photos: "
            f"{shown_names(unknown)}. Expected names such as {shown_names(names[:2])}."
        )
    left = [name for name in names if name not in set(found)]
    if not left:
        raise DatasetError(f"{exclude} leaves out all {len(names)} photos. Leave out fewer.")
    return left
