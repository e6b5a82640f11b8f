"""Reading the tables of an index, which others may have written: bounded and checked."""

from __future__ import annotations

import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from recoseg.archive.repair import repair_advice
from recoseg.errors import ArchiveError, FileError
from recoseg.photos.refs import Photo
from recoseg.storage.checksums import checksum
from recoseg.storage.counts import count_of
from recoseg.storage.reading import read_bytes

ROW_BYTES = 16_384
"""Maximum size of a row of a table, bytes on average; a path has at most some thousand."""
_SPARE = 1 << 20
_LARGEST = 1 << 30
"""Maximum size of a table whose number of rows is not known beforehand, bytes."""

METADATA: Mapping[str, Any] = {
    "image_path": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "bytes": pa.int64(),
    "stamp": pa.string(),
    "hash": pa.string(),
    "offset": pa.int64(),
}
"""Columns of the metadata, and their types."""
FAILURES: Mapping[str, Any] = dict.fromkeys(("image_path", "reason", "stamp"), pa.string())
"""Columns of the failures, and their types."""

_FIELDS = {"image_path": "path", "bytes": "size", "reason": "failure"}
"""Field of `Photo` for each column whose name differs from that of the field."""
_HASH = "^([0-9a-f]{32})?$"


def largest_table(rows: int) -> int:
    """Maximum size of a table of this many rows, bytes: of the file, and of its content."""
    return _SPARE + ROW_BYTES * rows


def describe_table(path: Path) -> tuple[int, list[str]]:
    """The number of rows that a parquet file says it has, and the names of its columns.

    Raises:
        ArchiveError: It is not a readable parquet file.
    """
    _check_regular(path)
    try:
        file = pq.ParquetFile(path)
        return int(file.metadata.num_rows), list(file.schema_arrow.names)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise ArchiveError(f"{path} is not a readable parquet file: {_line(error)}") from error


def read_table(
    path: Path,
    columns: Mapping[str, Any],
    rows: int | None = None,
    *,
    recorded: str = "",
    required: Sequence[str] = ("image_path",),
    command: str = "recoseg index",
) -> pa.Table:
    """Read the known columns of a table.

    Args:
        path: The parquet file.
        columns: Types of the columns that are known; others are not read.
        rows: Number of rows that the table must have; None if any number is right.
        recorded: Checksum of the file; empty if none was recorded.
        required: Columns that must be there and hold a value in every row.
        command: The command that writes such tables, for messages.

    Returns:
        The known columns that the table has.

    Raises:
        ArchiveError: The file cannot be read, is too large, has another checksum, another number
            of rows or other types, or lacks a required column or value.
    """
    limit = _LARGEST if rows is None else largest_table(rows)
    source = _checked_bytes(path, limit, recorded, command) if recorded else path
    if not recorded:
        _check_regular(path)
    try:
        names = pq.ParquetFile(source).schema_arrow.names
        known = [name for name in columns if name in names]
        texts = [name for name in known if columns[name] == pa.string()]
        # Texts are read as indices into distinct texts: a small file may repeat a long one.
        file = pq.ParquetFile(source, read_dictionary=texts)
        _check_size(path, file, known, rows, limit)
        table = file.read(columns=known)
        table.validate(full=True)
        found = {name: _column(path, table, name, columns[name], limit) for name in known}
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise ArchiveError(f"{path} is not a readable parquet file: {_line(error)}") from error
    if rows is not None and table.num_rows != rows:
        raise ArchiveError(f"{path} has {count_of(table.num_rows, 'rows')}. Expected {rows:,}.")
    for name in required:
        if name not in found:
            raise ArchiveError(
                f"{path} has the columns {', '.join(names)[:200]}. Expected `{name}` among them."
            )
        if found[name].null_count:
            raise ArchiveError(f"{path} has rows without `{name}`. Expected one in every row.")
    return pa.table(found)


def photo_of(row: Mapping[str, Any]) -> Photo:
    """The photo of a row of metadata or failures; absent and null columns keep their defaults."""
    known = {_FIELDS.get(name, name): value for name, value in row.items() if value is not None}
    return Photo(**known)


def table_of(photos: Sequence[Photo], columns: Mapping[str, Any]) -> pa.Table:
    """The table of photos, see `photo_of`."""
    rows = [{name: getattr(photo, _FIELDS.get(name, name)) for name in columns} for photo in photos]
    return pa.Table.from_pylist(rows, schema=pa.schema(dict(columns)))


def _checked_bytes(path: Path, limit: int, recorded: str, command: str) -> Any:
    try:
        data = read_bytes(path, limit)
    except FileError as error:
        raise ArchiveError(f"{error} If it was just written to, open it again.") from error
    if checksum(data) != recorded:
        raise ArchiveError(
            f"{path} is damaged: its checksum is {checksum(data)}, but {recorded} was recorded "
            f"when it was written. {repair_advice(path, command)}"
        )
    return pa.BufferReader(data)


def _check_regular(path: Path) -> None:
    """Refuse a pipe or a device, whose reading may never end."""
    try:
        if stat.S_ISREG(path.stat().st_mode):
            return
    except (OSError, ValueError) as error:
        raise ArchiveError(
            f"{path} cannot be read ({_line(error)}). If the index was just written to, open it "
            "again."
        ) from error
    raise ArchiveError(f"{path} is not a regular file.")


def _check_size(path: Path, file: Any, known: list[str], rows: int | None, limit: int) -> None:
    """Refuse a table that declares too many rows or bytes, before they are read."""
    about = file.metadata
    if rows is not None and about.num_rows != rows:
        raise ArchiveError(f"{path} has {count_of(about.num_rows, 'rows')}. Expected {rows:,}.")
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    whole = [group.total_byte_size for group in groups]
    if sum(whole) <= limit and min(whole, default=0) >= 0:
        # Details of the columns are not asked for without need: where they are damaged, pyarrow
        # ends the whole process instead of raising.
        return
    parts = [group.column(at) for group in groups for at in range(group.num_columns)]
    size = sum(part.total_uncompressed_size for part in parts if part.path_in_schema in known)
    if size > limit or any(part.total_uncompressed_size < 0 for part in parts):
        raise ArchiveError(
            f"{path} says that its columns have {size:,} bytes. Expected {limit:,} or fewer."
        )


def check_text_size(path: Path, name: str, column: Any, limit: int) -> None:
    """Refuse a column of texts, stored as indices into distinct ones, that together are too large.

    Args:
        path: The file, for the message.
        name: Name of the column.
        column: The column, of a dictionary type of pyarrow.
        limit: Maximum size of all its texts, bytes.

    Raises:
        ArchiveError: They are larger.
    """
    size = sum(
        pc.sum(pc.take(pc.binary_length(part.dictionary), part.indices)).as_py() or 0
        for part in column.chunks
    )
    if size > limit:
        raise ArchiveError(f"{path} has {size:,} bytes of `{name}`. Expected {limit:,} or less.")


def _column(path: Path, table: Any, name: str, kind: Any, limit: int) -> Any:
    """A column in its expected type; an error where it has another one."""
    column = table.column(name)
    if pa.types.is_dictionary(column.type):
        check_text_size(path, name, column, limit)
        column = column.cast(column.type.value_type)
    is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    is_number = pa.types.is_floating if pa.types.is_floating(kind) else pa.types.is_integer
    if is_text != (kind == pa.string()) or not (is_text or is_number(column.type)):
        raise ArchiveError(f"{path} has `{name}` of type {column.type}. Expected {kind}.")
    column = column.cast(kind)
    if not is_text and (pc.min(column).as_py() or 0) < -1:
        raise ArchiveError(f"{path} has negative values of `{name}`.")
    if name == "hash" and pc.all(pc.match_substring_regex(column, _HASH)).as_py() is False:
        raise ArchiveError(f"{path} has a `hash` other than 32 hexadecimal digits.")
    return column


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
