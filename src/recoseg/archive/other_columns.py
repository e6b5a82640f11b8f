"""Reading columns of tables that recoseg does not know: licences, addresses, scores of others."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from recoseg.archive.tables import check_text_size, describe_table, largest_table
from recoseg.errors import ArchiveError
from recoseg.storage.reading import read_bytes

MAX_CSV = 1 << 30
"""Maximum size of a table in CSV, bytes."""

_SHOWN = 300


def read_columns(path: Path, names: Sequence[str], rows: int | None = None) -> dict[str, list[Any]]:
    """Read some columns of a parquet file, as texts or numbers.

    Args:
        path: The file.
        names: Names of columns; those that the file lacks have None in every row.
        rows: Number of rows that the file must have; None if any number is right.

    Returns:
        The values by column: texts, numbers, truth values or None.

    Raises:
        ArchiveError: The file cannot be read, has another number of rows, holds too much, or a
            column holds neither texts nor numbers.
    """
    count, present = describe_table(path)
    if rows is not None and count != rows:
        raise ArchiveError(f"{path} has {count:,} rows. Expected {rows:,}.")
    known = [name for name in dict.fromkeys(names) if name in present]
    limit = largest_table(count)
    try:
        file = pq.ParquetFile(path)
        texts = [name for name in known if is_text(file.schema_arrow.field(name).type)]
        # Texts are read as indices into distinct texts: a small file may repeat a long one.
        file = pq.ParquetFile(path, read_dictionary=texts)
        table = file.read(columns=known)
        table.validate(full=True)
        found = {name: _values(path, name, table.column(name), limit) for name in known}
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        line = " ".join(str(error).split())[:_SHOWN]
        raise ArchiveError(f"{path} is not a readable parquet file: {line}") from error
    return {name: found.get(name, [None] * count) for name in names}


def read_any_table(path: Path) -> dict[str, list[Any]]:
    """Read all columns of texts and numbers of a table: a parquet file, or CSV with a header line.

    Raises:
        ArchiveError: The file cannot be read, or holds too much.
        FileError: The CSV file does not exist or is too large.
    """
    if path.suffix.lower() == ".parquet":
        _, names = describe_table(path)
        schema = pq.ParquetFile(path).schema_arrow
        return read_columns(path, [name for name in names if _is_plain(schema.field(name).type)])
    data = read_bytes(path, MAX_CSV)
    try:
        # Every value as it is written: `00123` is a name and no number.
        columns = pyarrow.csv.read_csv(io.BytesIO(data)).column_names
        types = pyarrow.csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()))
        table = pyarrow.csv.read_csv(io.BytesIO(data), convert_options=types)
        if b"\0" in data[:_SHOWN]:
            raise ValueError("it is not a text")
    except (ValueError, pa.ArrowException) as error:
        line = " ".join(str(error).split())[:_SHOWN]
        raise ArchiveError(
            f"{path} cannot be read as a table ({line}). Expected a parquet file, or a CSV file "
            "whose first line names its columns."
        ) from error
    return {name: table.column(name).to_pylist() for name in table.column_names}


def is_text(kind: Any) -> bool:
    """Whether a type of pyarrow is one of texts."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _is_plain(kind: Any) -> bool:
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return is_text(kind) or number or pa.types.is_boolean(kind)


def _values(path: Path, name: str, column: Any, limit: int) -> list[Any]:
    if not _is_plain(column.type):
        raise ArchiveError(f"{path} has `{name}` of type {column.type}. Expected texts or numbers.")
    if pa.types.is_dictionary(column.type):
        check_text_size(path, name, column, limit)
    return list(column.to_pylist())
