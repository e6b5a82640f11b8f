"""The regions of a segmented photo as separate detections, each with its confidence."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recoseg.formats.outlines import TOLERANCE
from recoseg.formats.protocol import FormatSettings, Labelled
from recoseg.formats.regions import Region
from recoseg.labels import Segmentation


@dataclass(frozen=True, eq=False)
class Detection:
    """A connected region of one class.

    Attributes:
        name: Its class.
        region: Its pixels.
        confidence: Mean probability of the class over its pixels before refinement, 0 to 1; see
            `Segmentation.confidence`. 1 in label maps that no segmenter has made.
    """

    name: str
    region: Region
    confidence: float


def labelled(
    found: Segmentation,
    *,
    polygons: bool = False,
    tolerance: float = TOLERANCE,
    min_area: int = 0,
) -> Labelled:
    """A label map as the formats of other tools take it; see `FormatSettings`."""
    settings = FormatSettings(
        found.names, found.palette, polygons=polygons, tolerance=tolerance, min_area=min_area
    )
    return Labelled(1, "", found.labels, settings, instances=found.instances)


def detections(found: Segmentation, item: Labelled, min_confidence: float = 0.0) -> list[Detection]:
    """The regions of a photo, in the order of their first pixels.

    Args:
        found: The label map.
        item: The same from `labelled`, which finds the regions.
        min_confidence: Regions with a lower confidence are left out.
    """
    every = (
        Detection(found.names[region.label], region, confidence(found, region))
        for region in item.regions
    )
    return [detection for detection in every if detection.confidence >= min_confidence]


def confidence(found: Segmentation, region: Region) -> float:
    """Mean probability of a region's class over its pixels; see `Detection`."""
    if found.probabilities is None:
        return 1.0
    values, step = found.probabilities.values, found.probabilities.step
    left, top, _, _ = region.box
    rows, columns = np.nonzero(region.mask)
    own = values[region.label, (rows + top) // step, (columns + left) // step]
    return float(own.mean(dtype=np.float64))
