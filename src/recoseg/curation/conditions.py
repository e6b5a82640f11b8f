"""Conditions on the metadata of photos: `licence=CC0,CC BY*` or `punsafe>0.5`."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from recoseg.errors import OptionError
from recoseg.storage.listed import names_in

_FORM = re.compile(r"\s*([^=<>]+?)\s*([=<>])\s*(.*?)\s*", re.DOTALL)

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Condition:
    """A condition on one column.

    Attributes:
        column: Name of the column.
        sign: `=` for one of several values, `<` or `>` for a number.
        values: For `=`: values, in which `*` stands for any text; upper and lower case do not
            matter.
        number: For `<` and `>`: the number.
    """

    column: str
    sign: str
    values: tuple[str, ...] = ()
    number: float = math.nan

    def __str__(self) -> str:
        """The condition as `parse_condition` reads it."""
        shown = ", ".join(self.values) if self.sign == "=" else f"{self.number:g}"
        return f"{self.column}{self.sign}{shown}"

    def holds(self, value: Value) -> bool | None:
        """Whether a value meets the condition; None if it is absent, or no number where one is due.

        Example:
            >>> one = parse_condition("licence=CC0, CC BY*")
            >>> one.holds("cc by 4.0"), one.holds("all rights reserved"), one.holds(None)
            (True, False, None)
            >>> parse_condition("punsafe>0.5").holds(0.9)
            True
        """
        if value is None or value == "":
            return None
        if self.sign == "=":
            text = str(value).casefold()
            return any(fnmatchcase(text, one.casefold()) for one in self.values)
        try:
            number = float(value)
        except (ValueError, OverflowError):
            return None
        if math.isnan(number):
            return None
        return number < self.number if self.sign == "<" else number > self.number


def parse_condition(text: str) -> Condition:
    """Read a condition: `COLUMN=VALUE, VALUE`, `COLUMN<NUMBER` or `COLUMN>NUMBER`.

    Raises:
        OptionError: It has another form.

    Example:
        >>> parse_condition("licence=CC0, 'CC BY*'").values
        ('CC0', "'CC BY*'")
        >>> str(parse_condition("width < 64"))
        'width<64'
    """
    found = _FORM.fullmatch(text)
    if not found:
        raise _refused(text)
    column, sign, rest = found.groups()
    if sign == "=":
        values = tuple(names_in(rest))
        if not values:
            raise _refused(text)
        return Condition(column, sign, values)
    try:
        number = float(rest)
    except ValueError:
        raise _refused(text) from None
    if not math.isfinite(number):
        raise _refused(text)
    return Condition(column, sign, (), number)


def parse_conditions(texts: str | Sequence[str]) -> list[Condition]:
    """Read one condition or several.

    Raises:
        OptionError: One has another form.
    """
    return [parse_condition(one) for one in ([texts] if isinstance(texts, str) else texts)]


def _refused(text: str) -> OptionError:
    return OptionError(
        f"The condition {text!r} cannot be read. Expected a column with values, such as "
        "'licence=CC0, CC BY*', or with a number, such as 'punsafe>0.5'."
    )
