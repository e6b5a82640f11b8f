"""Automatic annotation in CVAT: the interface `cvat_sdk.auto_annotation` of its client.

`cvat-cli task auto-annotate` and CVAT's agents take this module as a function:

    cvat-cli task auto-annotate 7 --function-module recoseg.neighbours.cvat -p bank=str:FILE
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from PIL import Image

from recoseg.errors import MissingExtraError
from recoseg.formats.outlines import TOLERANCE
from recoseg.neighbours.detections import detections, labelled
from recoseg.pipeline.segment import Segmentable, open_segmenter
from recoseg.segmentation.segmenter import Segmenter

_CORNERS = 3  # of a polygon, at least


class CvatFunction:
    """What CVAT's client calls for each photo: a mask, or a polygon, for each region.

    Args:
        segmenter: Segments the photos. Its classes are the labels, which CVAT matches with those
            of the task by their names.
        min_area: Regions with fewer pixels are left out.
        tolerance: How far the outline of a polygon may move when it is simplified, pixels.
    """

    def __init__(
        self, segmenter: Segmenter, *, min_area: int = 0, tolerance: float = TOLERANCE
    ) -> None:
        self._segmenter = segmenter
        self._min_area = min_area
        self._tolerance = tolerance

    @cached_property
    def spec(self) -> Any:
        """The labels; `--conv-mask-to-poly` makes polygons of their masks."""
        cvat, names = _client(), self._segmenter.names
        return cvat.DetectionFunctionSpec(
            labels=[cvat.label_spec(name, label, type="mask") for label, name in enumerate(names)]
        )

    def detect(self, context: Any, image: Image.Image) -> list[Any]:
        """Segment a photo.

        Args:
            context: What CVAT asks for: its threshold of confidence, and whether it wants polygons.
            image: The photo.

        Returns:
            CVAT's shapes, exact masks or polygons with bridges to their holes.
        """
        cvat = _client()
        from cvat_sdk.masks import encode_mask

        result = self._segmenter(image)
        assert result.segmentation is not None
        polygons = bool(context.conv_mask_to_poly)
        item = labelled(
            result.segmentation,
            polygons=polygons,
            tolerance=self._tolerance,
            min_area=self._min_area,
        )
        shapes = []
        for found in detections(result.segmentation, item, context.conf_threshold or 0.0):
            region = found.region
            if not polygons:
                bits = region.whole(*item.size)
                shapes.append(cvat.mask(region.label, encode_mask(bits, list(region.corners))))
                continue
            ring = np.asarray(item.ring(region))
            if len(ring) >= _CORNERS:
                shapes.append(cvat.polygon(region.label, ring.ravel().tolist()))
        return shapes


def create(
    bank: Segmentable,
    *,
    min_area: int = 0,
    tolerance: float = TOLERANCE,
    **options: Any,
) -> CvatFunction:
    """Open a bank or a trained model for CVAT.

    Args:
        bank: The bank or model, its file, or its address on the Hub.
        min_area: Regions with fewer pixels are left out.
        tolerance: How far the outline of a polygon may move when it is simplified, pixels.
        **options: Options of `open_segmenter`, such as `refine` or `threshold`.

    Raises:
        MissingExtraError: cvat-sdk is not installed.
        RecosegError: See `open_segmenter`.
    """
    _client()
    return CvatFunction(open_segmenter(bank, **options), min_area=min_area, tolerance=tolerance)


def _client() -> Any:
    """What CVAT's client offers to functions."""
    try:
        import cvat_sdk.auto_annotation
    except ImportError as error:
        raise MissingExtraError("cvat-sdk", "cvat", "Annotating in CVAT") from error
    return cvat_sdk.auto_annotation
