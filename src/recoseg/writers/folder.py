"""The output folder of a run: the files of its writers, and one JSON line per photo."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from PIL import Image

from recoseg.labels import Colour, Segmentation
from recoseg.storage.atomic import TEMPORARY, write_bytes
from recoseg.storage.settings import check_resumable
from recoseg.writers.formats import DEFAULT_FORMATS, writer_of
from recoseg.writers.protocol import Writer

LINES = "segmentations.jsonl"


class OutputFolder:
    """Writes a run's files; a context manager.

    The folder gets the files of each writer (such as `labels/NAME.png` and `overlays/NAME.jpg`),
    one line per photo in `segmentations.jsonl`, `settings.json` and `classes.txt`. Each file is
    whole or absent; the file of lines gets its final name when the run ends, even by an error.

    Args:
        folder: Where to write; it is created if it does not exist.
        names: The class of each label.
        palette: RGB of each class.
        writers: What to write: names in `FORMATS`, or writers.
        settings: All that decides the masks, as JSON fields.
        resume: Keep the photos that an earlier run with equal settings has finished.

    Raises:
        UnknownNameError: There is no such format.
        RecosegError: On entering, with `resume`: the masks in the folder were made with other
            settings.
    """

    def __init__(
        self,
        folder: str | Path,
        names: Sequence[str],
        palette: Sequence[Colour],
        *,
        writers: Sequence[str | Writer] = DEFAULT_FORMATS,
        settings: Mapping[str, Any] | None = None,
        resume: bool = False,
    ) -> None:
        self._folder = Path(folder)
        self._names = tuple(names)
        self._palette = tuple(palette)
        self._writers = [writer_of(given) for given in writers]
        self._settings: dict[str, Any] = {**(settings or {}), "overlays": False, "scores": False}
        for writer in self._writers:
            self._settings |= writer.settings
        self._resume = resume
        self._lines: IO[str] | None = None
        self._finished: set[str] = set()

    @property
    def lines_path(self) -> Path:
        """The file of JSON lines."""
        return self._folder / LINES

    def __contains__(self, path: object) -> bool:
        """Whether an earlier run has finished the photo of this path."""
        return path in self._finished

    def __enter__(self) -> OutputFolder:
        self._folder.mkdir(parents=True, exist_ok=True)
        kept = self._earlier_lines() if self._resume else []
        settings = json.dumps(self._settings, indent=2, ensure_ascii=False).encode()
        write_bytes(self._folder / "settings.json", settings)
        lines = "".join(f"{name}\n" for name in self._names)
        write_bytes(self._folder / "classes.txt", lines.encode())
        write_bytes(self._temporary, "".join(kept).encode())
        for writer in self._writers:
            writer.begin(self._folder, self._names, self._palette)
        self._lines = self._temporary.open("a", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with ExitStack() as stack:  # all are closed, whatever goes wrong with one
            stack.callback(self._close_lines)
            for writer in self._writers:
                stack.callback(writer.close)

    def _close_lines(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None
            self._temporary.replace(self.lines_path)

    def _earlier_lines(self) -> list[str]:
        """The lines of finished photos; a killed run has left them under the temporary name."""
        settings = self._folder / "settings.json"
        if not settings.is_file():
            return []
        check_resumable(settings, self._settings, "masks")
        kept = []
        for source in (self.lines_path, self._temporary):
            if not source.is_file():
                continue
            for line in source.read_text(encoding="utf-8", errors="replace").split("\n"):
                path = self._finished_path(line)
                if path is not None and path not in self._finished:
                    self._finished.add(path)
                    kept.append(line + "\n")
        return kept

    def _finished_path(self, line: str) -> str | None:
        """The photo of a line if all its files are there."""
        try:
            fields = json.loads(line)
            files = [self._folder / file for file in fields["files"].values()]
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # a line cut off when the run was killed, or a failure
        return fields["path"] if all(file.is_file() for file in files) else None

    def write(
        self, name: str, path: str, image: Image.Image, segmentation: Segmentation
    ) -> dict[str, Any]:
        """Write the files of one photo, and its line.

        Args:
            name: From `output_names`.
            path: Path of the photo, as it is written into the line.
            image: The photo.
            segmentation: The segmentation of the photo.

        Returns:
            The fields of the line: path, width, height, areas (fractions by class), background
            (fraction), files (relative to the folder, by kind).
        """
        files: dict[str, str] = {}
        for writer in self._writers:
            files |= writer.write(name, image, segmentation)
        height, width = segmentation.labels.shape
        fields = {
            "path": path,
            "width": width,
            "height": height,
            "areas": {key: round(area, 6) for key, area in segmentation.areas().items()},
            "background": round(segmentation.background, 6),
            "files": files,
        }
        self._write_line(fields)
        return fields

    def write_failure(self, path: str, reason: str) -> None:
        """Write the line of a photo that could not be segmented: path and error."""
        self._write_line({"path": path, "error": reason})

    @property
    def _temporary(self) -> Path:
        return self._folder / f"{TEMPORARY}{LINES}"

    def _write_line(self, fields: dict[str, Any]) -> None:
        if self._lines is None:
            raise ValueError("Use the folder in a with statement: with OutputFolder(...) as out.")
        text = json.dumps(fields, ensure_ascii=False)
        self._lines.write(text.encode("utf-8", "replace").decode() + "\n")
        self._lines.flush()
