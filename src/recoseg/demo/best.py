"""Which segmented photo is shown first."""

from __future__ import annotations

import numpy as np
from jaxtyping import UInt
from PIL import Image

from recoseg.labels import nearest_labels

_SIDE = 256


def edge_fit(image: Image.Image, labels: UInt[np.ndarray, "h w"]) -> float:
    """How well the borders of a label map lie on the edges of its photo.

    Args:
        image: The photo, RGB.
        labels: Its label map, of the same size.

    Returns:
        The mean change of colour across the borders, divided by that between any two neighbours: 1
        where the borders lie anywhere, more where they follow edges. 0 if there is no border, or
        no edge.
    """
    scale = min(1.0, _SIDE / max(image.size))
    width, height = (max(1, round(side * scale)) for side in image.size)
    colours = np.asarray(image.resize((width, height), Image.Resampling.BOX), np.float32)
    small = nearest_labels(labels, (height, width))
    changes = [np.abs(np.diff(colours, axis=axis)).mean(-1) for axis in (0, 1)]
    borders = [np.diff(small.astype(np.int32), axis=axis) != 0 for axis in (0, 1)]
    everywhere = np.concatenate([change.ravel() for change in changes])
    across = np.concatenate([c[b] for c, b in zip(changes, borders, strict=True)])
    if not across.size or not everywhere.any():
        return 0.0
    return float(across.mean() / everywhere.mean())
