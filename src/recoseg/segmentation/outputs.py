"""The output folder of a run: label maps, overlays, score maps and one JSON line per photo."""

from __future__ import annotations

import io
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from PIL import Image

from recoseg.files import check_resumable, write_bytes
from recoseg.segmentation.labels import IGNORE_INDEX
from recoseg.segmentation.overlay import draw_overlay
from recoseg.segmentation.palette import colour_table
from recoseg.segmentation.result import Segmentation

Extra = Mapping[str, tuple[str, bytes]]
"""Further files of a photo: by kind, which is their folder, their suffix and content."""

_UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')
_RESERVED = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?")
_JPEG_LIMIT = 65_500  # pixels to a side
_LONGEST = 180  # bytes; leaves room for a counter, a suffix and a temporary prefix below 255


def output_names(paths: Sequence[str | Path]) -> list[str]:
    """One file name without suffix for each input, all different, safe on every file system.

    A name is the input's stem; where stems are equal (upper and lower case count as equal), the
    folders that tell the inputs apart are put before it, and after that a counter. Unicode is
    kept. No name holds a separator, so none leaves the output folder.

    Example:
        >>> output_names(["a/dog.jpg", "b/dog.jpg", "b/été.png"])
        ['a__dog', 'b__dog', 'été']
    """
    absolute = [Path(path).absolute() for path in paths]
    stems = [_safe(path.stem) for path in absolute]
    counts: dict[str, int] = {}
    for stem in stems:
        counts[_folded(stem)] = counts.get(_folded(stem), 0) + 1
    colliding = [
        path for path, stem in zip(absolute, stems, strict=True) if counts[_folded(stem)] > 1
    ]
    common = _common_parts(colliding)
    taken = {_folded(stem) for stem in stems if counts[_folded(stem)] == 1}
    names = []
    for path, stem in zip(absolute, stems, strict=True):
        name = stem
        if counts[_folded(stem)] > 1:
            base = _safe("__".join((*path.parent.parts[common:], path.stem)))
            name, count = base, 1
            while _folded(name) in taken:
                count += 1
                name = f"{base}-{count}"
            taken.add(_folded(name))
        names.append(name)
    return names


def _common_parts(paths: Sequence[Path]) -> int:
    """How many leading folders all paths share."""
    folders = [path.parent.parts for path in paths]
    shared = 0
    for parts in zip(*folders, strict=False):
        if len(set(parts)) > 1:
            break
        shared += 1
    return shared


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _safe(name: str) -> str:
    name = name.encode("utf-8", "replace").decode()  # undecodable bytes of a file name
    name = _UNSAFE.sub("_", name).strip(" .")
    if _RESERVED.fullmatch(name):
        name = f"_{name}"
    raw = name.encode()
    if len(raw) > _LONGEST:
        name = raw[-_LONGEST:].decode(errors="ignore").strip(" .")
    return name or "image"


def encode_label_map(segmentation: Segmentation) -> bytes:
    """A label map as PNG.

    Up to 255 classes: a palette image (mode `P`) whose pixel values are the labels and whose
    colours are the classes', white for background, 255. More: 16-bit grey, background 65535.
    """
    buffer = io.BytesIO()
    labels = segmentation.labels
    image = Image.fromarray(labels)
    if segmentation.ignore_index == IGNORE_INDEX:
        image.putpalette(colour_table(segmentation.palette).tobytes())
    image.save(buffer, "PNG")
    return buffer.getvalue()


def encode_scores(segmentation: Segmentation) -> bytes:
    """Score maps as a compressed npz: `scores` (c, h, w) fp16, `names` (c,).

    Raises:
        ValueError: The segmentation holds no scores.
    """
    if segmentation.scores is None:
        raise ValueError("No scores were kept. Segment with keep_scores=True.")
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        scores=segmentation.scores.astype(np.float16, copy=False),
        names=np.array(segmentation.names),
    )
    return buffer.getvalue()


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
            encoded["overlays"] = (".jpg", _encode_jpeg(draw_overlay(image, segmentation)))
        if self._scores:
            encoded["scores"] = (".npz", encode_scores(segmentation))
        files = {}
        for kind, (suffix, data) in (encoded | dict(extra or {})).items():
            relative = Path(kind) / f"{_safe(name)}{suffix}"
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


def _encode_jpeg(image: Image.Image) -> bytes:
    if max(image.size) > _JPEG_LIMIT:
        image = image.copy()
        image.thumbnail((_JPEG_LIMIT, _JPEG_LIMIT))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()
