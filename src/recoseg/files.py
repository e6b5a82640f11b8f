"""Complete files, locks against other writers, fields of JSON, and the cache folder."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar, get_args, get_origin

import platformdirs
from filelock import FileLock, Timeout

from recoseg.errors import ArchiveError, RecosegError

if TYPE_CHECKING:
    from cattrs import Converter

T = TypeVar("T")

TEMPORARY = ".tmp-"
"""Prefix of the names of unfinished files."""


@contextlib.contextmanager
def write_lock(root: Path) -> Iterator[None]:
    """Keep other writers out of a folder; the lock ends with the process, however that ends.

    Raises:
        ArchiveError: Another process is writing to the folder.
    """
    try:
        lock = FileLock(root / ".lock").acquire(timeout=0)
    except Timeout as error:
        raise ArchiveError(
            f"Another process is writing to {root}. Wait for it, or choose another folder."
        ) from error
    with lock:
        yield


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Let `write` fill a temporary file, flush it to the disk, and rename it to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    with temporary.open("wb") as file:
        write(file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    if sys.platform != "win32":  # flushing the folder makes the rename itself durable
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it is complete or absent, never half written."""
    write_atomically(path, lambda file: file.write(data))


def check_resumable(path: Path, ours: dict[str, Any], what: str) -> None:
    """Refuse to resume a run that was made with other settings.

    Args:
        path: The file that holds the earlier run's settings.
        ours: The settings of this run, as values of JSON.
        what: What the earlier run has written, such as "masks".

    Raises:
        RecosegError: The settings differ; the message names those that do.
    """
    try:
        theirs = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise RecosegError(f"{path} is damaged ({error}). Write to another folder.") from error
    ours = json.loads(json.dumps(ours))  # tuples become lists, so that they compare equal
    if theirs != ours:
        changed = sorted(k for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k))
        raise RecosegError(
            f"The {what} in {path.parent} were made with other settings ({', '.join(changed)}). "
            "Use those to resume, or write to another folder."
        )


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
        raise ValueError(f"expected {kind.__name__}, got {value!r}")

    def check_tuple(value: object, kind: Any) -> tuple[object, ...]:
        if not isinstance(value, list | tuple):
            raise ValueError(f"expected a list, got {value!r}")
        kinds = get_args(kind)
        kinds = kinds[:1] * len(value) if kinds[-1] is Ellipsis else kinds
        if len(value) != len(kinds):
            raise ValueError(f"expected {len(kinds)} values, got {value!r}")
        return tuple(map(converter.structure, value, kinds))

    def is_tuple(kind: Any) -> bool:
        origin: Any = get_origin(kind)
        return origin is tuple

    converter = Converter(forbid_extra_keys=True)
    for plain in (bool, int, float, str):
        converter.register_structure_hook(plain, check)
    converter.register_structure_hook_func(is_tuple, check_tuple)
    return converter


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


def cache_folder(name: str) -> Path:
    """`$RECOSEG_CACHE/NAME`, or NAME in `recoseg` of the user's cache folder.

    The folder may not exist yet.
    """
    root = os.environ.get("RECOSEG_CACHE")
    if root:
        return Path(root).expanduser() / name
    return platformdirs.user_cache_path("recoseg", appauthor=False, opinion=False) / name
