"""Which settings of two runs differ."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from recoseg.evaluation.markdown import settings_rows


@dataclass(frozen=True)
class Change:
    """A setting that differs; None where it is not set.

    Attributes:
        name: Its name; those of nested settings are joined by dots.
        one: Its value in the one.
        other: Its value in the other.
    """

    name: str
    one: str | None
    other: str | None


def changes(one: Mapping[str, Any], other: Mapping[str, Any]) -> tuple[Change, ...]:
    """The settings that differ, in the order of the one, then those that only the other has.

    Example:
        >>> changes({"k": 50, "fusion": {"form": "sum"}}, {"k": 20, "fusion": {"form": "sum"}})
        (Change(name='k', one='50', other='20'),)
    """
    left, right = dict(settings_rows(one)), dict(settings_rows(other))
    return tuple(
        Change(name, left.get(name), right.get(name))
        for name in dict.fromkeys([*left, *right])
        if left.get(name) != right.get(name)
    )
