"""What a file or folder is, and which commands take it: for users who have named another thing."""

from __future__ import annotations

from pathlib import Path

from recoseg.errors import FileError
from recoseg.photos.refs import is_image_name
from recoseg.storage.claim import MARKS, format_in
from recoseg.storage.reading import read_start
from recoseg.storage.tensors import read_metadata

_SEGMENT = "`recoseg segment` segments photos with it"
_FORMATS = {
    "recoseg-index": (
        "an index of photos",
        "`recoseg learn` learns classes from it, and `recoseg retrieve` searches it",
    ),
    "recoseg-curation": (
        "a curation of an index",
        "`recoseg retrieve` and `recoseg learn` take it by --selection",
    ),
    "recoseg-memory": ("a region memory", "`recoseg inspect` prints what it holds"),
    "recoseg-masks": (
        "a folder of masks, as `recoseg segment` writes it",
        "its masks are in labels/, their classes in classes.txt",
    ),
    "recoseg-pseudo-labels": ("a folder of pseudo-labels", "`recoseg train` takes it"),
    "recoseg-training": ("the folder of a training run", _SEGMENT),
    "recoseg-figures": ("a folder of co-segmentation figures", "its pictures can be looked at"),
    "recoseg-evaluation": ("an evaluation", "`recoseg evaluate --resume` continues it"),
    "recoseg-suite": ("an evaluation", "`recoseg evaluate --resume` continues it"),
    "recoseg-ablation": ("an ablation", "`recoseg ablate --resume` continues it"),
    "recoseg-report": ("a report", "its page index.html opens in a browser"),
    "recoseg-bank": ("a concept bank", _SEGMENT),
    "recoseg-model": ("a trained model", _SEGMENT),
}
"""What is written in each format, and what can be done with it, by the beginning of the format."""

_START = 1 << 16  # bytes from which text is told
_LONGEST_LETTER = 4  # bytes in UTF-8
_OTHER = ("no output of recoseg", "")


def kind_of(path: str | Path) -> str:
    """The beginning of the format that a file or folder has, such as `recoseg-index`.

    Returns:
        A beginning of the table of this module; empty for what recoseg has not written.

    Raises:
        FileError: The file cannot be read.
    """
    found = Path(path)
    if found.is_dir():
        form = format_in(found) or ""
    else:
        try:
            form = read_metadata(found).get("format", "")
        except FileError:
            read_start(found, 1)  # one that cannot be read is no matter of formats
            form = ""
    return next((beginning for beginning in _FORMATS if form.startswith(beginning)), "")


def describe_kind(path: str | Path) -> str:
    """What a file or folder is, and what can be done with it, as a sentence.

    Raises:
        FileError: The file cannot be read.
    """
    found = Path(path)
    kind = kind_of(found)
    what, use = _FORMATS[kind] if kind else _other(found)
    return f"{found} is {what}{f'; {use}' if use else ''}."


def _other(path: Path) -> tuple[str, str]:
    """What is there that recoseg has not written, or without a mark of its own."""
    if path.is_dir():
        if (path / "img_emb").is_dir():
            return "a folder of embeddings of photos", _FORMATS["recoseg-index"][1]
        marks = [name for name in MARKS if (path / name).is_file()]
        if marks:
            return f"a folder whose {marks[0]} is damaged or not of recoseg", ""
        return _OTHER
    if path.suffix.lower() == ".onnx":
        return "a model for ONNX", "programs with an ONNX runtime run it"
    if is_image_name(path.name):
        return "a photo", "`recoseg segment BANK PHOTO --out FOLDER` segments it"
    start = read_start(path, _START)
    if not start:
        return "an empty file", ""
    text = start.decode("utf-8", "ignore").encode()  # a letter may be cut off at the end
    if b"\0" not in start and len(start) - len(text) < _LONGEST_LETTER:
        return (
            "a text file",
            "if it is a list of classes, `recoseg learn INDEX --classes FILE` learns them",
        )
    return _OTHER
