"""A report: pages in a folder, with their pictures, rows and script in files beside them.

The pages open from the disk, without a server or a network: scripts are classic ones, and rows are
scripts that call a function. Pictures are small files that browsers load when they are scrolled to,
so that a report of many thousand photos opens at once.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image

from recoseg.drawing.gallery import CHUNK, Gallery, rows_script
from recoseg.drawing.pages import encode_thumbnail, page_text, source_of
from recoseg.errors import OutputError
from recoseg.storage.atomic import write_atomically
from recoseg.storage.checksums import checksum
from recoseg.storage.claim import claim, format_in
from recoseg.storage.run_record import SETTINGS, RunRecord

FORMAT = "recoseg-report-1"
FILES = "files.jsonl"
PAGE = "index.html"
WHAT = "report"
LONG_SIDE = 320
"""Longest side of small pictures, pixels."""

ENTRIES = (PAGE, "report.js", "rows", "pictures", "classes")
_OWNED = (PAGE, "report.js", "rows/*.js", "pictures/*.jpg", "classes/*.html")


def claim_report(folder: Path, *, replace: bool) -> None:
    """Refuse a folder in which a report cannot be written, before anything is computed.

    Args:
        folder: The folder; it may not exist.
        replace: Whether a report that is there may be replaced.

    Raises:
        OutputError: It holds a report that may not be replaced, or files of others.
    """
    if format_in(folder) == FORMAT:
        if (folder / PAGE).exists() and not replace:
            raise OutputError(
                f"{folder} holds a report already. Replace it with --overwrite, or write to "
                "another folder."
            )
        replace = True  # it was not finished
    claim(folder, FORMAT, ENTRIES, what=WHAT, overwrite=replace)


def remove_report(folder: Path) -> None:
    """Remove the report in a folder, if any; files of others stay.

    Raises:
        OutputError: Another process is writing to the folder, or files cannot be removed.
    """
    if format_in(folder) != FORMAT:
        return
    with _record(folder, overwrite=True):
        pass
    with suppress(OSError):  # the folder holds files of others
        for name in (SETTINGS, FILES, ".lock"):
            (folder / name).unlink(missing_ok=True)
        folder.rmdir()


class Report:
    """Writes a report; a context manager that keeps other processes out of the folder.

    A report that is in the folder is replaced. Its pictures are kept as far as they are needed
    again, so that a run that was interrupted, or that has a few new photos, is quick. What is no
    longer needed is removed at the end; files of others never are.

    Args:
        folder: Where to write; it is created if it does not exist.

    Raises:
        OutputError: On entering: the folder holds files of others, or cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._record = _record(folder, resume=format_in(folder) == FORMAT)
        self._known: set[str] = set()
        self._used: set[str] = set()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self._record)
            self._known = {name for line in self._record.lines for name in line.get("files", ())}
            self._put("report.js", source_of("report.js").encode())
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                with self._record.writing():
                    self._record.drop(lambda line: not self._used.issuperset(line.get("files", ())))
        finally:
            self._stack.__exit__(kind, error, trace)

    def picture(self, content: Sequence[object], draw: Callable[[], Image.Image]) -> str:
        """Keep a picture, drawn only if the report does not have it yet.

        Args:
            content: What decides the picture, as JSON; equal content means an equal picture.
            draw: Draws it.

        Returns:
            Its file, relative to the folder: `pictures/` and 20 hex digits.
        """
        name = f"pictures/{checksum(json.dumps([*content, LONG_SIDE]).encode())[:20]}.jpg"
        if name not in self._known:
            self._put(name, encode_thumbnail(draw()))
        self._used.add(name)
        return name

    def keep(self, image: Image.Image) -> str:
        """Keep a picture that is drawn already; see `picture`."""
        pixels = checksum(image.convert("RGB").tobytes())
        return self.picture(["pixels", image.size, pixels], lambda: image)

    def gallery(self, gallery: Gallery) -> None:
        """Write the rows of a gallery: `rows/NAME-0.js` and so on."""
        for chunk in range(gallery.chunks):
            part = gallery.photos[chunk * CHUNK : (chunk + 1) * CHUNK]
            self._put(f"rows/{gallery.name}-{chunk}.js", rows_script(gallery.name, part))

    def page(self, name: str, template: str, **fields: object) -> Path:
        """Write a page.

        Args:
            name: Its file, relative to the folder, such as `classes/3.html`.
            template: Name of its template.
            **fields: What the template shows; `up` leads from the page to the folder.
        """
        text = page_text(template, up="../" * name.count("/"), **fields)
        self._put(name, text.encode())
        return self.folder / name

    def _put(self, name: str, data: bytes) -> None:
        """Write a file, which is complete or absent, and note it."""
        with self._record.writing():
            if name not in self._known:
                self._record.expect([name])
            write_atomically(self.folder / name, lambda file: file.write(data), flush=False)
            if name not in self._known:
                self._record.add({"files": [name]})
        self._known.add(name)
        self._used.add(name)


def _record(folder: Path, *, resume: bool = False, overwrite: bool = False) -> RunRecord:
    return RunRecord(
        folder,
        FILES,
        FORMAT,
        {},
        what=WHAT,
        entries=ENTRIES,
        resume=resume,
        overwrite=overwrite,
        owned=_OWNED,
    )
