"""Dataclasses as fields of JSON, and back."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, get_args, get_origin

from recoseg.errors import RecosegError
from recoseg.storage.counts import count_of

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")


def to_json(fields: dict[str, Any]) -> bytes:
    """Indented JSON in UTF-8, with a final line break."""
    text = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
    return text.encode("utf-8", "backslashreplace")  # file names may hold bytes that are not UTF-8


def read_fields(kind: type[T], fields: object) -> T:
    """Make a dataclass of the fields that JSON holds.

    Args:
        kind: The dataclass; fields with a default may be missing. Lists become tuples.
        fields: A JSON object.

    Raises:
        RecosegError: A field is unknown, missing, of another type or refused by the dataclass; the
            message names every such field.
    """
    from cattrs import transform_error

    try:
        return _converter().structure(fields, kind)
    except Exception as error:  # cattrs groups the errors of all fields, whatever their types
        found = [text.split(" @ $") for text in transform_error(error, format_exception=_reason)]
        texts = [f"{where[1:]}: {what}" if where else what for what, where in found]
        raise RecosegError("; ".join(texts)) from error


@cache
def _converter() -> Converter:
    """A converter that refuses values of other types instead of converting them."""
    from cattrs import Converter

    def check(value: object, kind: type) -> object:
        if type(value) is kind or (kind is float and type(value) is int):
            return value
        raise ValueError(f"expected {kind.__name__}, got {_short(value)}")

    def check_tuple(value: object, kind: Any) -> tuple[object, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"expected a list, got {_short(value)}")
        kinds = get_args(kind)
        kinds = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
        if len(value) != len(kinds):
            raise ValueError(f"expected {count_of(len(kinds), 'values')}, got {_short(value)}")
        return tuple(map(converter.structure, value, kinds))

    def is_tuple(kind: Any) -> bool:
        origin: Any = get_origin(kind)
        return origin is tuple

    converter = Converter(forbid_extra_keys=True)
    for plain in (bool, int, float, str):
        converter.register_structure_hook(plain, check)
    converter.register_structure_hook_func(is_tuple, check_tuple)
    return converter


def _short(value: object) -> str:
    """The beginning of a value, which may be very long."""
    return repr(value)[:200]


def _reason(error: BaseException, kind: type | None) -> str:
    """Why cattrs could not use a field."""
    from cattrs import ForbiddenExtraKeysError

    if isinstance(error, KeyError):
        return "the field is missing"
    if isinstance(error, ForbiddenExtraKeysError):
        return f"unknown field {', '.join(sorted(error.extra_fields))}"
    if isinstance(error, AttributeError | TypeError):
        return "expected fields, got another value"
    return str(error)
