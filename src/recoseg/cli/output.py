"""What commands print. Nothing else prints, so that names cannot act on the terminal."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TextIO

import typer

from recoseg.errors import OptionError, RecosegError
from recoseg.storage.shown import is_unsafe, shown, shown_lines

_WIDEST = 10_000
"""Characters in a line of a table that is not shown on a terminal."""


def say(line: object, *, err: bool = False) -> None:
    """Print one line; line breaks within it are shown as escapes.

    Args:
        line: The line, which may hold names from files.
        err: Whether it goes to standard error.
    """
    _echo(shown(line), err)


def say_lines(text: object, *, err: bool = False) -> None:
    """Print a text of several lines, such as a table."""
    _echo(shown_lines(text), err)


def say_json(value: object) -> None:
    """Print JSON; if a terminal would obey a character, or the stream cannot hold it, in ASCII."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    if any(map(is_unsafe, text.replace("\n", ""))) or not _holds(sys.stdout, text):
        text = json.dumps(value, indent=2)
    _echo(text, err=False)


def say_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; nothing in its cells is read as markup.

    Args:
        titles: The titles of the columns.
        rows: The cells of each row.
    """
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    # In a narrow terminal long paths go on in the next line; elsewhere nothing limits the width.
    table = Table(*(Column(title, overflow="fold") for title in titles))
    for row in rows:
        table.add_row(*(Text(shown(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _WIDEST
    with naming(sys.stdout):
        Console(width=width).print(table)


def refuse_nothing(done: int, tried: int, verb: str) -> None:
    """End a command with exit code 1 if not one of the photos could be used.

    Args:
        done: Number of photos that could be used, in this run or an earlier one.
        tried: Number of photos that were given.
        verb: What was to be done with them, such as "segmented".

    Raises:
        RecosegError: No photo could be used.
    """
    if tried == 1 and not done:
        raise RecosegError(f"The only input could not be {verb}; see the reason above.")
    if tried and not done:
        raise RecosegError(f"None of the {tried:,} photos could be {verb}; see the reasons above.")


def refuse_unused(where: str, given: Mapping[str, object]) -> None:
    """Refuse options that would have no effect.

    Args:
        where: Why not, such as "without --video".
        given: The values of these options by their names; None for those that are not given.

    Raises:
        OptionError: One of them is given.
    """
    unused = [f"--{name}" for name, value in given.items() if value is not None]
    if unused:
        raise OptionError(f"{', '.join(unused)} would have no effect {where}. Leave it out.")


@contextlib.contextmanager
def naming(stream: TextIO) -> Iterator[None]:
    """Let errors of a standard stream say which it is, as errors of files say their names."""
    try:
        yield
    except OSError as error:
        error.filename = "standard error" if stream is sys.stderr else "standard output"
        raise


def _echo(text: str, err: bool) -> None:
    with naming(sys.stderr if err else sys.stdout):
        typer.echo(text, err=err)


def _holds(stream: TextIO, text: str) -> bool:
    """Whether a stream's encoding has all characters of a text."""
    try:
        text.encode(stream.encoding or "utf-8")
    except UnicodeEncodeError:
        return False
    return True
