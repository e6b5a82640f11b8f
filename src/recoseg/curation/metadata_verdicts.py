"""Verdicts by metadata: licences, sources and scores that the archive's tables hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from recoseg.archive.index import ArchiveIndex
from recoseg.archive.other_columns import read_any_table
from recoseg.curation.conditions import Condition, Value
from recoseg.curation.verdicts import Verdict
from recoseg.errors import OptionError, UnknownNameError
from recoseg.photos.refs import split_member
from recoseg.storage.counts import count_of

PATHS = ("image_path", "path", "file_name", "filename", "file", "url", "key", "id", "image_id")
"""Columns of a table by which its rows are assigned to photos; the first that is there counts."""

Columns = Mapping[str, Sequence[Value]]


def metadata_of(
    index: ArchiveIndex, conditions: Sequence[Condition], table: Path | None = None
) -> dict[str, list[Value]]:
    """The values of the columns that conditions name, for each photo of an index.

    Args:
        index: The index.
        conditions: The conditions.
        table: A table with a row per photo, parquet or CSV; by default the index's own tables.

    Raises:
        UnknownNameError: There is no such column.
        OptionError: No row of the table belongs to a photo of the index.
        ArchiveError: A table is damaged.
    """
    names = list(dict.fromkeys(condition.column for condition in conditions))
    if table is None:
        present = index.column_names()
    else:
        columns = read_any_table(table)
        present = sorted(columns)
    for name in names:
        if name not in present:
            advice = "" if table else "Name a table that has it by --table FILE."
            raise UnknownNameError(f"column of {table or index.location}", name, present, advice)
    if table is not None:
        paths = [photo.path for _, photo in index.entries()]
        where = [position for position, _ in index.entries()]
        found: dict[str, list[Value]] = {name: [None] * len(index) for name in names}
        for position, row in zip(where, rows_of(paths, columns, str(table)), strict=True):
            if row is None:
                continue
            for name in names:
                found[name][position] = columns[name][row]
        return found
    found = {name: [] for name in names}
    for _, part in index.columns(names):
        for name in names:
            found[name] += part[name]
    return found


def rows_of(paths: Sequence[str], columns: Columns, table: str) -> list[int | None]:
    """The row of each photo in a table.

    A row belongs to a photo if its path is the photo's path, or the end of it after a slash, with
    or without the extension.

    Args:
        paths: The paths of the photos.
        columns: The table; see `PATHS`.
        table: Its name, for messages.

    Raises:
        OptionError: The table has no column of paths, no row belongs to a photo, or one belongs to
            several.
    """
    key = next((name for name in PATHS if name in columns), None)
    if key is None:
        raise OptionError(
            f"{table} has the columns {', '.join(sorted(columns))[:200]}. Expected one with the "
            f"paths of photos: {', '.join(PATHS)}."
        )
    rows = {str(value): row for row, value in enumerate(columns[key]) if value is not None}
    found = [next((rows[end] for end in _ends(path) if end in rows), None) for path in paths]
    owner: dict[int, str] = {}
    for path, row in zip(paths, found, strict=True):
        if row is not None and owner.setdefault(row, path) != path:
            raise OptionError(
                f"{columns[key][row]!r} in the column `{key}` of {table} fits two photos: "
                f"{owner[row]} and {path}. Write more of their paths into `{key}`."
            )
    if rows and all(row is None for row in found):
        raise OptionError(
            f"None of the {count_of(len(rows), 'rows')} of {table} belongs to a photo of the "
            f"index: `{key}` has values such as {next(iter(rows))[:100]!r}, and the photos have "
            f"paths such as {paths[0][:100]!r}."
        )
    return found


def _ends(path: str) -> Iterator[str]:
    """The names by which a table may call a photo, the longest first."""
    outer, mark, member = split_member(path)
    whole = f"{outer}/{member}" if mark else path
    yield path
    parts = whole.replace("\\", "/").split("/")
    for first in range(len(parts)):
        end = "/".join(parts[first:])
        yield end
        stem, dot, _ = end.rpartition(".")
        if dot and "/" not in end[len(stem) :]:
            yield stem


def metadata_verdicts(
    values: Mapping[str, Sequence[Value]],
    only: Sequence[Condition],
    without: Sequence[Condition],
) -> list[Verdict]:
    """Verdicts by conditions.

    Args:
        values: The values of each column, one per photo.
        only: Photos that do not meet all of these are left out, also where the value is absent.
        without: Photos that meet one of these are left out.
    """
    found = []
    for condition in only:
        is_out = np.array([not condition.holds(value) for value in values[condition.column]], bool)
        found.append(Verdict.plain("metadata", f"not {condition}", is_out))
    for condition in without:
        is_out = np.array(
            [bool(condition.holds(value)) for value in values[condition.column]], bool
        )
        found.append(Verdict.plain("metadata", str(condition), is_out))
    return found


def value_counts(values: Sequence[Any], most: int = 20) -> list[tuple[str, int]]:
    """The most frequent values of a column and how many photos have them; absent ones as `-`.

    Example:
        >>> value_counts(["CC0", None, "CC0", "CC BY"])
        [('CC0', 2), ('-', 1), ('CC BY', 1)]
    """
    counts = Counter("-" if value in (None, "") else str(value) for value in values)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most]
