"""A base model for autodistill, which labels a folder of photos for the training of other models.

from autodistill.detection import CaptionOntology
from recoseg.neighbours.autodistill import base_model

model = base_model(CaptionOntology({"dog": "pet", "cat": "pet"}), "pets.safetensors")
model.label("photos", extension=".jpg")
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from PIL import Image

from recoseg.errors import BadImageError, MissingExtraError, UnknownNameError
from recoseg.neighbours.detections import Detection, detections, labelled
from recoseg.pipeline.segment import Segmentable, open_segmenter

_log = logging.getLogger(__name__)


def base_model(
    ontology: Any,
    bank: Segmentable,
    *,
    min_area: int = 0,
    min_confidence: float = 0.0,
    **options: Any,
) -> Any:
    """Make a base model that detects the regions of classes that were given by name only.

    Args:
        ontology: A `CaptionOntology`. Its captions are names of classes of the bank, each with the
            name that it gets in the labels. Classes of the bank that it does not name compete for
            pixels, and are not labelled.
        bank: The bank or trained model, its file, or its address on the Hub.
        min_area: Regions with fewer pixels are left out.
        min_confidence: Regions with a lower confidence, 0 to 1, are left out.
        **options: Options of `open_segmenter`, such as `refine` or `threshold`.

    Returns:
        A `DetectionBaseModel`. `predict` takes a path, a PIL image, or pixels as OpenCV reads them
        (BGR). It gives `supervision.Detections` with `mask`, `xyxy` (right and bottom are those of
        the last pixels), `class_id` (the place in the ontology) and `confidence`: none of a photo
        that cannot be read, whose reason is logged. `label` labels a folder.

    Raises:
        MissingExtraError: autodistill is not installed.
        UnknownNameError: A caption is the name of no class; the message lists the classes.
        RecosegError: See `open_segmenter`.
    """
    try:
        import supervision
        from autodistill.detection import DetectionBaseModel
    except ImportError as error:
        raise MissingExtraError(
            error.name or "autodistill", "autodistill", "A base model of autodistill"
        ) from error
    segmenter = open_segmenter(bank, **options)
    places = {caption: at for at, caption in enumerate(ontology.prompts())}
    for caption in places:
        if caption not in segmenter.names:
            raise UnknownNameError("class", caption, list(segmenter.names))

    class Recoseg(DetectionBaseModel):
        def __init__(self) -> None:
            self.ontology = ontology

        def predict(self, input: Any) -> Any:  # the name of the argument is autodistill's
            try:
                result = segmenter(_photo(input))
            except BadImageError as error:
                _log.warning("Left out: %s", error)
                return supervision.Detections.empty()
            assert result.segmentation is not None
            item = labelled(result.segmentation, min_area=min_area)
            found = detections(result.segmentation, item, min_confidence)
            named = [one for one in found if one.name in places]
            if not named:
                return supervision.Detections.empty()
            return supervision.Detections(**_fields(named, places, item.size))

    return Recoseg()


def _fields(
    found: list[Detection], places: dict[str, int], size: tuple[int, int]
) -> dict[str, np.ndarray]:
    """What `supervision.Detections` takes."""
    corners = np.array([one.region.corners for one in found], np.float32)
    return {
        "xyxy": corners - np.array([0, 0, 1, 1], np.float32),
        "mask": np.stack([one.region.whole(*size) for one in found]),
        "class_id": np.array([places[one.name] for one in found], int),
        "confidence": np.array([one.confidence for one in found], np.float32),
    }


def _photo(given: Any) -> Any:
    """A photo as a segmenter takes it; autodistill reads files with OpenCV, in the order BGR.

    Raises:
        BadImageError: OpenCV could not read the file, and says so by None.
    """
    if given is None:
        raise BadImageError("a photo that OpenCV cannot read")
    if isinstance(given, np.ndarray) and given.ndim == 3:
        return Image.fromarray(np.ascontiguousarray(given[..., 2::-1]))
    return given
