"""JSON, and lines of JSON, that hold a checksum of their own fields."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recoseg.errors import FileError
from recoseg.storage.checksums import checksum
from recoseg.storage.fields import to_json
from recoseg.storage.json_lines import line_of
from recoseg.storage.reading import read_json, short

SEAL = "checksum"
"""The field that holds the checksum of all other fields."""

LINE_SEAL = "line"
"""The field of a line that holds the first half of the checksum of the line's other fields."""


def sealed(fields: Mapping[str, Any]) -> bytes:
    """Indented JSON of the fields and of their checksum; see `read_sealed`."""
    plain = {name: value for name, value in fields.items() if name != SEAL}
    return to_json({**plain, SEAL: checksum(to_json(plain))})


def read_sealed(path: Path, limit: int) -> tuple[dict[str, Any], bool]:
    """Read the fields that `sealed` wrote, or those of an early version, which has no checksum.

    Args:
        path: The JSON file.
        limit: Maximum size, bytes.

    Returns:
        The fields without the checksum, and whether there was one.

    Raises:
        MissingFileError: There is no such file.
        FileError: It cannot be read, is not a JSON object, or its fields have changed since the
            checksum was computed.
    """
    fields = read_json(path, limit)
    if SEAL not in fields:
        return fields, False
    expected = fields.pop(SEAL)
    try:
        found = checksum(to_json(fields))
    except (ValueError, RecursionError) as error:
        raise FileError(f"{path} is damaged ({short(error)}).") from error
    if found != expected:
        raise FileError(
            f"{path} is damaged: its fields have the checksum {found}, but {str(expected)[:40]} "
            "was recorded when it was written."
        )
    return fields, True


def sealed_line(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a line and their checksum; see `is_whole`."""
    plain = {name: value for name, value in fields.items() if name != LINE_SEAL}
    return {**plain, LINE_SEAL: checksum(line_of(plain))[:16]}


def is_whole(fields: Mapping[str, Any], required: bool) -> bool:
    """Whether a line has the checksum of its other fields.

    Args:
        fields: The fields, as they were read.
        required: Whether a line without a checksum, as early versions wrote it, is damaged.
    """
    if LINE_SEAL not in fields:
        return not required
    try:
        return sealed_line(fields)[LINE_SEAL] == fields[LINE_SEAL]
    except (ValueError, RecursionError):
        return False
