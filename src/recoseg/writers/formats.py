"""Segmentations as the bytes of files."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from recoseg.drawing.palette import colour_table
from recoseg.labels import IGNORE_INDEX, Segmentation

_JPEG_LIMIT = 65_500  # pixels to a side


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


def encode_jpeg(image: Image.Image) -> bytes:
    """A JPEG; larger images than the format holds are made smaller."""
    if max(image.size) > _JPEG_LIMIT:
        image = image.copy()
        image.thumbnail((_JPEG_LIMIT, _JPEG_LIMIT))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=92)
    return buffer.getvalue()
