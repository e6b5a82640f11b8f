"""Co-segmentation figures, one per class, like the supplement's Figure 1."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from PIL import Image

from recoseg.archive.index import ArchiveIndex
from recoseg.concepts import Concept
from recoseg.drawing.cosegmentation_figure import cosegmentation_figure
from recoseg.errors import OutputError
from recoseg.learning.corrections import NO_SEED, pixel_of
from recoseg.learning.one_class import LearnedClass
from recoseg.photos.frame import Frame
from recoseg.photos.images import to_frame
from recoseg.photos.refs import split_member
from recoseg.storage.atomic import write_atomically
from recoseg.storage.claim import claim, format_in
from recoseg.storage.run_record import SETTINGS, RunRecord

FORMAT = "recoseg-figures-1"
LINES = "figures.jsonl"
COLUMNS = 5
_LONGEST = 180  # bytes; leaves room for a prefix, a number and the suffix below 255


def framed(index: ArchiveIndex, learnt: LearnedClass, image_size: int = 224) -> list[Image.Image]:
    """The first `COLUMNS` photos of a class as they were co-segmented: their centre crops.

    Args:
        index: The archive.
        learnt: The class.
        image_size: Side of the crops, pixels.
    """
    frame = Frame(image_size)
    return [
        Image.fromarray(to_frame(index.read(position), frame).permute(1, 2, 0).numpy())
        for position in learnt.positions[:COLUMNS]
    ]


def seeded_photos(index: ArchiveIndex, learnt: LearnedClass) -> list[dict[str, Any]]:
    """The first `COLUMNS` photos of a class with their seeds, as `learn --seed-at` takes them.

    Returns:
        For each its `path` and `seeds`, the best first: (x, y) in pixels of the upright photo.
    """
    found = learnt.cosegmentation
    grid = (found.support.shape[1], found.support.shape[2])
    photos = []
    for position, seeds in zip(learnt.positions[:COLUMNS], found.seeds.tolist(), strict=False):
        photo = index.photo(position)
        size = (photo.width or 0, photo.height or 0)
        cells = [(y, x) for y, x in seeds if y != NO_SEED and all(size)]
        pixels = [list(pixel_of(cell, size, grid)) for cell in cells]
        photos.append({"path": photo.path, "seeds": pixels})
    return photos


def _caption(photo: Mapping[str, Any]) -> str:
    """The name of a photo's file and the place of its best seed."""
    name = split_member(photo["path"])[2] or photo["path"]
    return ":".join([Path(name).name, *(f"{x},{y}" for x, y in photo["seeds"][:1])])


def check_figures(folder: Path, *, replaces: bool) -> None:
    """Refuse a folder that figures cannot be drawn into.

    Args:
        folder: The folder; it may not exist.
        replaces: Whether figures of an earlier run may be replaced.

    Raises:
        OutputError: It holds figures of an earlier run, output of another command, or files of
            others.
        FileError: A link leads out of the folder.
    """
    if not replaces and format_in(folder) == FORMAT:
        raise OutputError(
            f"{folder} holds the figures of an earlier run. Replace them with --overwrite, or "
            "write to another folder."
        )
    claim(folder, FORMAT, [LINES, SETTINGS], what="figures", overwrite=replaces)


class FigureWriter:
    """Writes `NAME.jpg` (context: `context-NAME.jpg`) for each class; a context manager.

    Args:
        index: The archive.
        folder: Folder to write to; it is created if it does not exist.
        image_size: Side of the crop in which the seeds were found, pixels.
        overwrite: Whether to remove the figures that an earlier run has drawn.
        update: Whether to keep them, except those of the classes that are drawn again.

    Raises:
        OutputError: On entering: the folder holds figures of an earlier run that are neither
            removed nor kept; see also `RunRecord`.
    """

    def __init__(
        self,
        index: ArchiveIndex,
        folder: Path,
        image_size: int = 224,
        *,
        overwrite: bool = False,
        update: bool = False,
    ) -> None:
        self._index = index
        self._folder = folder
        self._size = image_size
        self._written: dict[tuple[str, str], Path] = {}
        self._replaces = overwrite or update
        self._record = RunRecord(
            folder,
            LINES,
            FORMAT,
            {},
            what="figures",
            resume=update,
            overwrite=overwrite and not update,
            owned=["*.jpg"],
        )

    def __enter__(self) -> Self:
        check_figures(self._folder, replaces=self._replaces)
        self._record.__enter__()
        for line in self._record.lines:
            self._written[line["role"], line["class"]] = self._folder / line["files"][0]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._record.__exit__(kind, error, trace)

    def __call__(self, learnt: LearnedClass) -> None:
        """Draw the first retrieved photos with their heat maps and seeds.

        Raises:
            OutputError: The figure cannot be written.
        """
        concept, found = learnt.concept, learnt.cosegmentation
        images = framed(self._index, learnt, self._size)
        title = concept.name if concept.role == "class" else f"{concept.name} (context)"
        photos = seeded_photos(self._index, learnt)
        captions = [_caption(photo) for photo in photos]
        figure = cosegmentation_figure(
            images, found.support, found.seeds, title, captions=captions, columns=COLUMNS
        )
        key = (concept.role, concept.name)
        path = self.path(concept)
        try:
            if key in self._written:
                self._record.drop(lambda line: (line["role"], line["class"]) == key)
            self._record.add(
                {
                    "class": concept.name,
                    "role": concept.role,
                    "photos": photos,
                    "files": [path.name],
                }
            )
            write_atomically(path, lambda file: figure.save(file, "JPEG", quality=90))
        except OSError as error:
            raise OutputError(
                f"The figure {path} cannot be written: {error.strerror or error}."
            ) from error
        self._written[key] = path

    def path(self, concept: Concept) -> Path:
        """The figure's file.

        Characters that a file name cannot hold are replaced; if two names then agree, or the folder
        has another file of that name, the figure gets a number.
        """
        key = (concept.role, concept.name)
        if key in self._written:
            return self._written[key]
        stem = re.sub(r"[^\w\- ]+", "_", concept.name).strip() or "class"
        stem = stem.encode()[:_LONGEST].decode(errors="ignore")
        if concept.role == "context":
            stem = f"context-{stem}"
        taken = {path.stem.casefold() for path in self._written.values()}
        name, count = stem, 1
        while name.casefold() in taken or (self._folder / f"{name}.jpg").exists():
            count += 1
            name = f"{stem}-{count}"
        return self._folder / f"{name}.jpg"
