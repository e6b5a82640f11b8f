"""Instances as files: the number of the instance that each pixel belongs to, as PNG of 16 bits."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt16
from PIL import Image

from recoseg.errors import FileError
from recoseg.labels import Segmentation
from recoseg.photos import files
from recoseg.photos.opening import MAX_PIXELS
from recoseg.photos.stored import stored_values
from recoseg.storage.checksums import checksum
from recoseg.storage.reading import read_bytes

INSTANCES = "instances"
"""The kind of the files, which is also the name of their folder."""


def encode_instances(segmentation: Segmentation) -> bytes:
    """The instances of a label map as PNG of 16 bits of grey; 0 is none.

    Raises:
        ValueError: The segmentation has no instances.
    """
    if segmentation.instances is None:
        raise ValueError("No instances were told apart. Segment with instances of some form.")
    buffer = io.BytesIO()
    Image.fromarray(segmentation.instances.numbers).save(buffer, "PNG")
    return buffer.getvalue()


def instance_fields(segmentation: Segmentation) -> list[dict[str, Any]]:
    """The class of each instance in the order of their numbers, and its score if that is known.

    Example:
        >>> from recoseg.labels import InstanceMap
        >>> labels, numbers = np.array([[1, 0]], np.uint8), np.array([[1, 2]], np.uint16)
        >>> own = InstanceMap(numbers, (0.5, 0.25))
        >>> instance_fields(Segmentation(labels, ("a", "b"), (), instances=own))
        [{'class': 'b', 'score': 0.5}, {'class': 'a', 'score': 0.25}]
    """
    own = segmentation.instances
    if own is None:
        return []
    label_of = np.zeros(int(own.numbers.max(initial=0)) + 1, np.int64)
    label_of[own.numbers] = segmentation.labels
    found = [{"class": segmentation.names[label]} for label in label_of[1:].tolist()]
    scores = [{"score": round(score, 6)} for score in own.scores] or [{}] * len(found)
    return [{**one, **score} for one, score in zip(found, scores, strict=True)]


def read_instances(path: Path, expected: str | None = None) -> UInt16[np.ndarray, "h w"]:
    """Read such a file.

    Args:
        path: The file.
        expected: Its recorded checksum; None checks none.

    Raises:
        FileError: It is missing or damaged.
    """
    data = read_bytes(path, files.MAX_BYTES)
    if expected is not None and checksum(data) != expected:
        raise FileError(
            f"{path} is damaged: it does not have the checksum that was recorded when it was "
            "written."
        )
    try:
        with Image.open(io.BytesIO(data), formats=["PNG"]) as image:
            if image.width * image.height > MAX_PIXELS or not image.mode.startswith("I"):
                raise FileError(f"{path} is no PNG of 16 bits of grey.")
            return stored_values(image).astype(np.uint16)
    except FileError:
        raise
    except Exception as error:  # decoders of damaged files raise nearly anything
        raise FileError(f"{path} is damaged: {str(error)[:200]}.") from error
