"""The record of a run in its output folder: its settings, and JSON lines that belong to them."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from recoseg.errors import FileError, MissingFileError, OutputError
from recoseg.storage.atomic import remove_leftovers, write_bytes
from recoseg.storage.checksums import checksum
from recoseg.storage.claim import claim
from recoseg.storage.json_lines import line_of, read_json_lines, write_json_lines
from recoseg.storage.locks import lock_folder
from recoseg.storage.paths import inside
from recoseg.storage.reading import MAX_TEXT, read_json
from recoseg.storage.sealed import LINE_SEAL, is_whole, read_sealed, sealed, sealed_line
from recoseg.storage.settings import check_resumable

SETTINGS = "settings.json"
_UNFINISHED = ".unfinished"
_OFTEN = 256  # lines between two flushes to the disk


class RunRecord:
    """`settings.json` and a file of JSON lines; a context manager that holds the folder's lock.

    The settings hold the digest `run`, and so does each line, so that lines count only beside the
    settings that they were written with. A line names under `files` the files that it stands for,
    relative to the folder; files of lines that no longer count are removed if the run writes files
    of such names, and nothing else is. Settings and lines hold checksums of their own fields, and a
    damaged line does not count; those of early versions have none and get one when the run is
    continued. A run that replaces another one writes its settings first, which makes the old lines
    invalid at once; if it is killed while it removes the old files, the next run goes on with that.

    Args:
        folder: The folder; it is created if it does not exist.
        name: Name of the file of lines.
        form: What the run writes, for the field `format`, such as `recoseg-masks-1`.
        settings: All that decides the lines and files, as JSON fields.
        what: What the run writes, for messages, such as "masks".
        entries: Names of the other files and folders that the run writes.
        resume: Continue an earlier run with equal settings.
        overwrite: Replace an earlier run.
        owned: Patterns of the names of all files that lines may name, relative to the folder, such
            as `labels/**/*.png`, in which `**` stands for any number of folders; by default the
            entries, and what is directly in them.
        keep: Which lines of the earlier run count; by default all.

    Attributes:
        lines: The lines of the earlier run that count, without their digest, once entered.

    Raises:
        OutputError: On entering: the folder holds an earlier run that is neither continued nor
            replaced, one with other settings, or files of others; another process is writing to
            it; or it cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        form: str,
        settings: Mapping[str, Any],
        *,
        what: str,
        entries: Iterable[str] = (),
        resume: bool = False,
        overwrite: bool = False,
        owned: Iterable[str] | None = None,
        keep: Callable[[dict[str, Any]], bool] = lambda _: True,
    ) -> None:
        self._folder = folder
        self._path = folder / name
        self._form = form
        self._settings = dict(settings)
        self._what = what
        self._entries = tuple(entries)
        within = [pattern for name in self._entries for pattern in (name, f"{name}/*")]
        self._owned = tuple(within if owned is None else owned)
        self._resume = resume
        self._overwrite = overwrite
        self._keep = keep
        self._run = ""
        self._has_checksums = True
        self._added = 0
        self._file: IO[bytes] | None = None
        self._unfinished: IO[bytes] | None = None
        self._pending: tuple[str, ...] = ()
        self._stack = ExitStack()
        self.lines: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        with self.writing(), ExitStack() as stack:
            stack.enter_context(lock_folder(self._folder))
            stack.callback(self._close)
            self._begin()
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self.writing():
            self._stack.close()

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Turn what the system says while files are written into one line for the user.

        Raises:
            OutputError: An OSError was raised.
        """
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"Cannot write to {self._folder}: {error.strerror or error}. What is finished is "
                "kept; remove the cause and continue with --resume."
            ) from error

    def expect(self, files: Iterable[str]) -> None:
        """Say which files are written next, so that they can be removed if their line is not.

        Args:
            files: Names relative to the folder.
        """
        self._pending = tuple(files)
        _replace(_entered(self._unfinished), line_of({"files": list(self._pending)}))

    def add(self, fields: Mapping[str, Any]) -> None:
        """Append a line, which settles the files that were expected."""
        file = _entered(self._file)
        line = line_of(sealed_line({"run": self._run, **fields}))
        if file.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._added += 1
        if self._added % _OFTEN == 0:
            os.fsync(file.fileno())
        if self._pending:
            self._pending = ()
            _replace(_entered(self._unfinished), b"")

    def drop(self, is_stale: Callable[[dict[str, Any]], bool]) -> None:
        """Drop lines that no longer hold, and remove the files that they name."""
        stored = list(read_run_lines(self._folder, self._path.name))
        dead = [fields for fields in stored if fields is not None and is_stale(fields)]
        if dead:
            kept = [fields for fields in stored if fields is not None and not is_stale(fields)]
            self.lines = [fields for fields in self.lines if not is_stale(fields)]
            self._remove(dead, kept)
            self._write_lines(kept)

    def _begin(self) -> None:
        path = self._folder / SETTINGS
        for own in (_UNFINISHED, self._path.name):
            inside(self._folder, own)  # they are written in place, so links may not lead elsewhere
        existing = claim(
            self._folder,
            self._form,
            [SETTINGS, self._path.name, *self._entries],
            what=self._what,
            resume=self._resume,
            overwrite=self._overwrite,
        )
        earlier = read_json(path).get("run", "") if existing and path.is_file() else ""
        if existing and self._resume and path.is_file():
            self._run = earlier
            check_resumable(path, self._all_settings(), self._what)
            self._has_checksums = read_sealed(path, MAX_TEXT)[1]
        else:
            # With the earlier digest, so that a run replaces one with equal settings, too.
            asked = json.dumps([self._form, self._settings, earlier], sort_keys=True)
            self._run = checksum(asked.encode())[:16]
            write_bytes(path, sealed(self._all_settings()))
        self._unfinished = (self._folder / _UNFINISHED).open("ab+", buffering=0)
        self._take_up()
        if not self._has_checksums:
            self._write_lines(self.lines)
            write_bytes(path, sealed(self._all_settings()))

    def _all_settings(self) -> dict[str, Any]:
        mark = {"format": self._form, "run": self._run}
        return {**mark, **self._settings, **mark}

    def _take_up(self) -> None:
        """Read the lines; remove the files of those that do not count, and what kills have left."""
        found: list[dict[str, Any] | None] = []
        with contextlib.suppress(MissingFileError):
            found = list(read_json_lines(self._path))
        dead = list(read_json_lines(self._folder / _UNFINISHED))
        for fields in found:
            whole = fields is not None and is_whole(fields, self._has_checksums)
            if fields is not None and whole and fields.get("run") == self._run:
                fields = _plain(fields)
                if self._counts(fields):
                    self.lines.append(fields)
                    continue
            dead.append(fields)
        for place in (".", *self._entries):
            remove_leftovers(self._folder / place)
        self._remove([fields for fields in dead if fields is not None], self.lines)
        _replace(_entered(self._unfinished), b"")
        if len(self.lines) < len(found):
            self._write_lines(self.lines)
        else:
            self._open()

    def _counts(self, fields: dict[str, Any]) -> bool:
        """Whether a line of this run is to be kept, and all its files are there."""
        try:
            whole = all(inside(self._folder, name).is_file() for name in _files(fields))
            return whole and self._keep(fields)
        except (FileError, OSError):
            return False

    def _remove(
        self, dead: Iterable[Mapping[str, Any]], alive: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        """Remove the files that dead lines name, unless lines that count name them, too."""
        kept = {name for fields in alive for name in _files(fields)}
        own = {SETTINGS, _UNFINISHED, self._path.name, ".lock"}
        names = dict.fromkeys(name for fields in dead for name in _files(fields))
        folders: dict[Path, None] = {}
        for name in names:
            try:
                path = inside(self._folder, name)
            except FileError:
                continue
            if name in kept or (path.parent == self._folder and path.name.casefold() in own):
                continue
            if not any(_matches(name, pattern) for pattern in self._owned):
                continue  # a line of strangers, who would have a file of the user's removed
            if path.is_file():
                path.unlink()
            folders[path.parent] = None
        for folder in folders:
            remove_leftovers(folder)
            with contextlib.suppress(OSError):  # it holds other files, or does not exist
                while folder != self._folder:
                    folder.rmdir()
                    folder = folder.parent

    def _write_lines(self, lines: Iterable[Mapping[str, Any]]) -> None:
        self._close_lines()
        write_json_lines(self._path, (sealed_line({"run": self._run, **f}) for f in lines))
        self._open()

    def _open(self) -> None:
        self._file = self._path.open("ab", buffering=0)

    def _close_lines(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            with file:
                os.fsync(file.fileno())

    def _close(self) -> None:
        with ExitStack() as stack:
            if self._unfinished is not None:
                stack.callback((self._folder / _UNFINISHED).unlink, missing_ok=True)
                stack.callback(self._unfinished.close)
            self._unfinished = None
            stack.callback(self._close_lines)
            if self._pending:  # an error has ended the run within a photo
                stack.callback(self._remove, [{"files": list(self._pending)}])
                self._pending = ()


def read_run_lines(folder: Path, name: str) -> Iterator[dict[str, Any] | None]:
    """The lines that belong to the settings in a folder, without their digest.

    Args:
        folder: The folder of a `RunRecord`.
        name: Name of the file of lines.

    Yields:
        The fields of each line; None for one that is damaged or cut off. Lines of other runs are
        left out.

    Raises:
        FileError: One of the files is missing, damaged or cannot be read.
    """
    settings, has_checksum = read_sealed(folder / SETTINGS, MAX_TEXT)
    for fields in read_json_lines(folder / name):
        if fields is None or not is_whole(fields, has_checksum):
            yield None
        elif fields.get("run") == settings.get("run"):
            yield _plain(fields)


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """A line's fields without its run and checksum."""
    return {name: value for name, value in fields.items() if name not in ("run", LINE_SEAL)}


def _matches(name: str, pattern: str) -> bool:
    """Whether a relative name fits a pattern, whose * stands for no slash, and ** for folders."""
    parts, patterns = name.split("/"), pattern.split("/")
    if "**" in patterns:
        first = patterns.index("**")
        between = max(0, len(parts) - len(patterns) + 1)
        patterns[first : first + 1] = ["*"] * between
    return len(parts) == len(patterns) and all(map(fnmatchcase, parts, patterns))


def _files(fields: Mapping[str, Any]) -> list[str]:
    """The names of files in a line; those that are no text are no names."""
    files = fields.get("files")
    names = files.values() if isinstance(files, dict) else files
    if not isinstance(names, Iterable) or isinstance(names, str):
        return []
    return [name for name in names if isinstance(name, str)]


def _replace(file: IO[bytes], content: bytes) -> None:
    """Replace the content of a small open file; written at once, so a kill leaves none or all."""
    file.truncate(0)
    if content:
        file.write(content)


def _entered(file: IO[bytes] | None) -> IO[bytes]:
    if file is None:
        raise ValueError("Use it in a with statement, and write within that.")
    return file
