"""The output folder of a run: label maps, overlays, score maps and one JSON line per photo."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from PIL import Image

from recoseg.drawing.overlay import draw_overlay
from recoseg.files import check_resumable, write_bytes
from recoseg.labels import Segmentation
from recoseg.writers.formats import encode_jpeg, encode_label_map, encode_scores
from recoseg.writers.names import safe_name

Extra = Mapping[str, tuple[str, bytes]]
"""Further files of a photo: by kind, which is their folder, their suffix and content."""


class OutputFolder:
    """Writes a run's files; a context manager.

    `labels/NAME.png`, `overlays/NAME.jpg`, `scores/NAME.npz`, one line per photo in
    `segmentations.jsonl`, `settings.json`, and `classes.txt`. Each file is whole or absent; the
    lines get their final name when the run ends, even by an error.

    Args:
        folder: Where to write; made if absent.
        overlays: Whether to write overlays.
        scores: Whether to write score maps.
        settings: What decides the masks, as JSON fields.
        names: The class of each label, for `classes.txt`; None for no such file.
        resume: Keep the photos that an earlier run with equal settings has finished.

    Raises:
        RecosegError: On entering, with `resume`: the folder's masks were made otherwise.
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        overlays: bool = True,
        scores: bool = False,
        settings: Mapping[str, Any] | None = None,
        names: Sequence[str] | None = None,
        resume: bool = False,
    ) -> None:
        self._folder = Path(folder)
        self._overlays = overlays
        self._scores = scores
        self._settings = dict(settings or {}, overlays=overlays, scores=scores)
        self._names = names
        self._resume = resume
        self._lines: IO[str] | None = None
        self._finished: set[str] = set()

    @property
    def lines_path(self) -> Path:
        """The file of JSON lines."""
        return self._folder / "segmentations.jsonl"

    def __contains__(self, path: object) -> bool:
        """Whether an earlier run has finished the photo of this path."""
        return path in self._finished

    def __enter__(self) -> OutputFolder:
        self._folder.mkdir(parents=True, exist_ok=True)
        kept = self._earlier_lines() if self._resume else []
        settings = json.dumps(self._settings, indent=2, ensure_ascii=False).encode()
        write_bytes(self._folder / "settings.json", settings)
        if self._names is not None:
            lines = "".join(f"{name}\n" for name in self._names)
            write_bytes(self._folder / "classes.txt", lines.encode())
        write_bytes(self._temporary, "".join(kept).encode())
        self._lines = self._temporary.open("a", encoding="utf-8")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
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
            lines = (
                source.read_text(encoding="utf-8", errors="replace").split("\n")
                if source.is_file()
                else []
            )
            for line in lines:
                path = self._finished_path(line)
                if path is not None and path not in self._finished:
                    self._finished.add(path)
                    kept.append(line + "\n")
        return kept

    def _finished_path(self, line: str) -> str | None:
        """The photo of a line whose files are all there."""
        try:
            fields = json.loads(line)
            files = [self._folder / file for file in fields["files"].values()]
        except (ValueError, KeyError, TypeError, AttributeError):
            return None  # cut off by a kill, or a failure
        return fields["path"] if all(file.is_file() for file in files) else None

    def write(
        self,
        name: str,
        path: str,
        image: Image.Image,
        segmentation: Segmentation,
        extra: Extra | None = None,
    ) -> dict[str, Any]:
        """Write one photo's files and its line.

        Args:
            name: From `output_names`.
            path: Of the photo, as the line shall give it.
            image: The photo.
            segmentation: Its segmentation.
            extra: Further files.

        Returns:
            The line's fields: path, width, height, areas (fractions by class), background
            (fraction), files (relative to the folder, by kind).
        """
        encoded = {"labels": (".png", encode_label_map(segmentation))}
        if self._overlays:
            encoded["overlays"] = (".jpg", encode_jpeg(draw_overlay(image, segmentation)))
        if self._scores:
            encoded["scores"] = (".npz", encode_scores(segmentation))
        files = {}
        for kind, (suffix, data) in (encoded | dict(extra or {})).items():
            relative = Path(kind) / f"{safe_name(name)}{suffix}"
            write_bytes(self._folder / relative, data)
            files[kind] = relative.as_posix()
        height, width = segmentation.labels.shape
        fields = {
            "path": path,
            "width": width,
            "height": height,
            "areas": {key: round(area, 6) for key, area in segmentation.areas().items()},
            "background": round(
                float((segmentation.labels == segmentation.ignore_index).mean()), 6
            ),
            "files": files,
        }
        self._write_line(fields)
        return fields

    def write_failure(self, path: str, reason: str) -> None:
        """Write the line of a photo that could not be segmented: path and error."""
        self._write_line({"path": path, "error": reason})

    @property
    def _temporary(self) -> Path:
        return self._folder / ".tmp-segmentations.jsonl"

    def _write_line(self, fields: dict[str, Any]) -> None:
        if self._lines is None:
            raise ValueError("Use the folder in a with statement: with OutputFolder(...) as out.")
        text = json.dumps(fields, ensure_ascii=False)
        self._lines.write(text.encode("utf-8", "replace").decode() + "\n")
        self._lines.flush()
