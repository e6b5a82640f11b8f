"""What writes segmentations as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from PIL import Image

from recoseg.labels import Colour, Segmentation


class Writer(Protocol):
    """Writes the segmentations of a run in one format.

    A run calls `begin` once, `write` for each photo, and `close` once, also after an error. A run
    that is resumed does not write the photos again that it has finished, so a writer of one file
    for all photos has to keep what is in it.
    """

    @property
    def kind(self) -> str:
        """What it writes, such as `labels`; the key of its files in the lines of the run."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """What decides its files beside the segmentations, as JSON fields.

        A run is resumed only with equal settings.
        """

    def begin(self, folder: Path, names: Sequence[str], palette: Sequence[Colour]) -> None:
        """Prepare to write.

        Args:
            folder: The folder of the run.
            names: The class of each label.
            palette: RGB of each class.
        """

    def files(self, name: str) -> Mapping[str, str]:
        """The files that `write` will write for a photo, by kind, relative to the folder.

        Args:
            name: A name without suffix, unique in the run and safe on every file system. It mirrors
                the folders of the photo, with `/` between its parts.
        """

    def write(self, name: str, image: Image.Image, segmentation: Segmentation) -> None:
        """Write the files of one photo.

        Args:
            name: As for `files`.
            image: The photo, upright RGB.
            segmentation: The segmentation of the photo.
        """

    def close(self) -> None:
        """Finish."""
