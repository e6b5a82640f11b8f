"""Fields from JSON: what fits the dataclass is taken, all else is refused and named."""

from dataclasses import dataclass
from typing import Literal

import pytest

from recoseg.errors import RecosegError
from recoseg.storage.fields import read_fields


@dataclass(frozen=True)
class Inner:
    weight: float
    pairs: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Outer:
    name: str
    form: Literal["a", "b"]
    inner: Inner
    several: tuple[Inner, ...] = ()
    note: str | None = None

    def __post_init__(self):
        if not self.name:
            raise RecosegError("name is empty.")


GOOD = {"name": "x", "form": "a", "inner": {"weight": 1.5}}


def test_fields_that_fit():
    inner = {"weight": 2, "pairs": [[1, 2], [3, 4]]}
    made = read_fields(Outer, GOOD | {"several": [inner], "note": None})
    assert made == Outer("x", "a", Inner(1.5), (Inner(2.0, ((1, 2), (3, 4))),))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"name": 3}, "name: expected str, got 3"),
        ({"name": ""}, "name is empty"),
        ({"form": "c"}, "form: c not in"),
        ({"inner": 3}, "inner: expected fields"),
        ({"inner": {}}, "inner.weight: the field is missing"),
        ({"inner": {"weight": True}}, "inner.weight: expected float, got True"),
        ({"inner": {"weight": "1"}}, "inner.weight: expected float, got '1'"),
        ({"inner": {"weight": 1, "pairs": "12"}}, "inner.pairs: expected a list, got '12'"),
        ({"inner": {"weight": 1, "pairs": [[1]]}}, r"inner.pairs: expected 2 values, got \[1\]"),
        ({"inner": {"weight": 1, "pairs": [[1, 2.0]]}}, "inner.pairs: expected int, got 2.0"),
        ({"other": 1, "more": 2}, "unknown field more, other"),
    ],
)
def test_fields_that_do_not_fit(change, match):
    with pytest.raises(RecosegError, match=match):
        read_fields(Outer, GOOD | change)


def test_all_fields_are_named_at_once():
    with pytest.raises(RecosegError, match=r"name: .*; form: .*; inner: "):
        read_fields(Outer, {})


@pytest.mark.parametrize("fields", [3, None, "text", [], [1]])
def test_no_object(fields):
    with pytest.raises(RecosegError, match="expected fields"):
        read_fields(Outer, fields)
