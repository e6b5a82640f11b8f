"""Co-segmentation figures, one per class, like the supplement's Figure 1."""

from __future__ import annotations

import re
from pathlib import Path

from PIL import Image

from recoseg.archive.index import ArchiveIndex
from recoseg.concepts import Concept
from recoseg.drawing.cosegmentation_figure import cosegmentation_figure
from recoseg.learning.learner import LearnedClass
from recoseg.photos.frame import Frame
from recoseg.photos.images import to_frame

COLUMNS = 5
_LONGEST = 180  # bytes; leaves room for a prefix, a number and the suffix below 255


class FigureWriter:
    """Writes `NAME.jpg` (context classes: `context-NAME.jpg`) for each class that is learnt.

    Args:
        index: The archive.
        folder: Folder to write to; it is created if it does not exist.
        image_size: Side of the crop in which the seeds were found, pixels.
    """

    def __init__(self, index: ArchiveIndex, folder: Path, image_size: int = 224) -> None:
        self._index = index
        self._folder = folder
        self._size = image_size
        self._written: dict[tuple[str, str], Path] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def __call__(self, learnt: LearnedClass) -> None:
        """Draw the first retrieved photos with their heat maps and seeds."""
        concept, found = learnt.concept, learnt.cosegmentation
        images = [
            Image.fromarray(
                to_frame(self._index.read(position), Frame(self._size)).permute(1, 2, 0).numpy()
            )
            for position in learnt.positions[:COLUMNS]
        ]
        title = concept.name if concept.role == "class" else f"{concept.name} (context)"
        figure = cosegmentation_figure(images, found.support, found.seeds, title, columns=COLUMNS)
        path = self.path(concept)
        figure.save(path, quality=90)
        self._written[concept.role, concept.name] = path

    def path(self, concept: Concept) -> Path:
        """The figure's file.

        Characters that a file name cannot hold are replaced; if two names then agree, the second
        gets a number.
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
        while name.casefold() in taken:
            count += 1
            name = f"{stem}-{count}"
        return self._folder / f"{name}.jpg"
