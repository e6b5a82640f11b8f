"""The formats that segmentations can be written in, by name."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from PIL import Image

from recoseg.drawing.overlay import draw_overlay
from recoseg.drawing.palette import colour_table
from recoseg.errors import UnknownNameError
from recoseg.labels import IGNORE_INDEX, Colour, Segmentation
from recoseg.storage.atomic import write_bytes
from recoseg.storage.paths import inside
from recoseg.writers.instances import INSTANCES, encode_instances
from recoseg.writers.names import safe_path
from recoseg.writers.protocol import Writer

_JPEG_LIMIT = 65_500  # pixels to a side


@final
@dataclass
class FilePerPhoto:
    """A writer of one file per photo, `KIND/NAME.SUFFIX`, in folders as the name has; see `Writer`.

    Attributes:
        kind: What it writes, which is also the name of the sub-folder.
        suffix: Suffix of the files, with its dot.
        encode: From a photo and its segmentation to the content of the file.
        settings: What decides the files beside the segmentations, as JSON fields.
    """

    kind: str
    suffix: str
    encode: Callable[[Image.Image, Segmentation], bytes]
    settings: Mapping[str, Any] = field(default_factory=dict)

    def begin(self, folder: Path, names: Sequence[str], palette: Sequence[Colour]) -> None:
        """See `Writer`."""
        self._folder = folder

    def files(self, name: str) -> dict[str, str]:
        """See `Writer`."""
        folder, _, stem = name.rpartition("/")
        return {self.kind: f"{self.kind}/{safe_path(folder, stem)}{self.suffix}"}

    def write(self, name: str, image: Image.Image, segmentation: Segmentation) -> None:
        """See `Writer`; a file is whole or absent."""
        path = inside(self._folder, self.files(name)[self.kind])
        write_bytes(path, self.encode(image, segmentation))

    def close(self) -> None:
        """See `Writer`."""


def label_maps() -> Writer:
    """Label maps as PNG; see `encode_label_map`."""
    return FilePerPhoto("labels", ".png", lambda _, found: encode_label_map(found))


def overlays(background: int | None = None) -> Writer:
    """Photos with their classes painted over them and a legend, as JPEG; see `draw_overlay`.

    Args:
        background: The label of background where that is a class; it is not painted either.
    """

    def encode(image: Image.Image, found: Segmentation) -> bytes:
        if background is not None:
            labels = np.where(found.labels == background, found.ignore_index, found.labels)
            found = replace(found, labels=labels.astype(found.labels.dtype))
        return encode_jpeg(draw_overlay(image, found))

    return FilePerPhoto("overlays", ".jpg", encode, {"overlays": True})


def score_maps() -> Writer:
    """Fused scores of all classes; see `encode_scores`."""
    return FilePerPhoto("scores", ".npz", lambda _, found: encode_scores(found), {"scores": True})


def instance_maps() -> Writer:
    """Instances of label maps; see `encode_instances`."""
    return FilePerPhoto(INSTANCES, ".png", lambda _, found: encode_instances(found))


FORMATS: dict[str, Callable[[], Writer]] = {
    "labels": label_maps,
    "overlays": overlays,
    "scores": score_maps,
    INSTANCES: instance_maps,
}
"""The formats by name."""

DEFAULT_FORMATS = ("labels", "overlays")
"""What is written unless something else is asked for."""


def writer_of(given: str | Writer) -> Writer:
    """The writer of a name in `FORMATS`, or the writer that is given.

    Raises:
        UnknownNameError: There is no such format; the message lists all.
    """
    if not isinstance(given, str):
        return given
    if given not in FORMATS:
        raise UnknownNameError("format", given, list(FORMATS))
    return FORMATS[given]()


def encode_label_map(segmentation: Segmentation) -> bytes:
    """A label map as PNG.

    With up to 255 classes it is a palette image (mode `P`): pixel values are labels, colours are
    those of the classes, and background is 255, white. With more classes it is 16-bit grey, and
    background is 65535.
    """
    image = Image.fromarray(segmentation.labels)
    if segmentation.ignore_index == IGNORE_INDEX:
        image.putpalette(colour_table(segmentation.palette).tobytes())
    return encode_png(image)


def encode_scores(segmentation: Segmentation) -> bytes:
    """Score maps as a compressed npz: `scores` (c, h, w) fp16, `names` (c,).

    Raises:
        ValueError: The segmentation has no scores.
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


def encode_png(image: Image.Image) -> bytes:
    """A PNG."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def encode_jpeg(image: Image.Image) -> bytes:
    """A JPEG; images that are too large for the format are made smaller."""
    if max(image.size) > _JPEG_LIMIT:
        image = image.copy()
        image.thumbnail((_JPEG_LIMIT, _JPEG_LIMIT))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()
