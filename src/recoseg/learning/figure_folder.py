"""Co-segmentation figures, one per class, like the supplement's Figure 1."""

from __future__ import annotations

import re
from pathlib import Path
from types import TracebackType
from typing import Self

from PIL import Image

from recoseg.archive.index import ArchiveIndex
from recoseg.concepts import Concept
from recoseg.drawing.cosegmentation_figure import cosegmentation_figure
from recoseg.learning.learner import LearnedClass
from recoseg.photos.frame import Frame
from recoseg.photos.images import to_frame
from recoseg.storage.atomic import write_atomically
from recoseg.storage.run_record import RunRecord

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


class FigureWriter:
    """Writes `NAME.jpg` (context: `context-NAME.jpg`) for each class; a context manager.

    Args:
        index: The archive.
        folder: Folder to write to; it is created if it does not exist.
        image_size: Side of the crop in which the seeds were found, pixels.
        overwrite: Whether to remove the figures that an earlier run has drawn.

    Raises:
        OutputError: On entering: see `RunRecord`.
    """

    def __init__(
        self, index: ArchiveIndex, folder: Path, image_size: int = 224, *, overwrite: bool = False
    ) -> None:
        self._index = index
        self._folder = folder
        self._size = image_size
        self._written: dict[tuple[str, str], Path] = {}
        self._record = RunRecord(
            folder, LINES, FORMAT, {}, what="figures", overwrite=overwrite, owned=["*.jpg"]
        )

    def __enter__(self) -> Self:
        self._record.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._record.__exit__(kind, error, trace)

    def __call__(self, learnt: LearnedClass) -> None:
        """Draw the first retrieved photos with their heat maps and seeds."""
        concept, found = learnt.concept, learnt.cosegmentation
        images = framed(self._index, learnt, self._size)
        title = concept.name if concept.role == "class" else f"{concept.name} (context)"
        figure = cosegmentation_figure(images, found.support, found.seeds, title, columns=COLUMNS)
        path = self.path(concept)
        with self._record.writing():
            self._record.add({"class": concept.name, "role": concept.role, "files": [path.name]})
            write_atomically(path, lambda file: figure.save(file, "JPEG", quality=90))
        self._written[concept.role, concept.name] = path

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
