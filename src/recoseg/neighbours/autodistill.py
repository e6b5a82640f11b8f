"""A base model for autodistill, which labels a folder of photos for the training of other models.

from autodistill.detection import CaptionOntology
from recoseg.neighbours.autodistill import Recoseg

model = Recoseg(CaptionOntology({"dog": "pet", "cat": "pet"}), "pets.safetensors")
model.label("photos", extension=".jpg")
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from PIL import Image

from recoseg.errors import BadImageError, MissingExtraError, UnknownNameError
from recoseg.neighbours.detections import detections, labelled
from recoseg.pipeline.segment import Segmentable, open_segmenter

try:
    import supervision
    from autodistill.detection import CaptionOntology, DetectionBaseModel
except ImportError as error:
    raise MissingExtraError(
        error.name or "autodistill", "autodistill", "A base model of autodistill"
    ) from error

_log = logging.getLogger(__name__)


class Recoseg(DetectionBaseModel):
    """Detects the regions of classes that were given by name only.

    Args:
        ontology: Its captions are names of classes of the bank, each with the name that it gets in
            the labels; several captions may get the same one. Classes of the bank that it does not
            name compete for pixels, and are not labelled.
        bank: The bank or trained model, its file, or its address on the Hub.
        min_area: Regions with fewer pixels are left out.
        min_confidence: Regions with a lower confidence, 0 to 1, are left out.
        **options: Options of `open_segmenter`, such as `refine` or `threshold`.

    Raises:
        UnknownNameError: A caption is the name of no class; the message lists the classes.
        RecosegError: See `open_segmenter`.
    """

    def __init__(
        self,
        ontology: CaptionOntology,
        bank: Segmentable,
        *,
        min_area: int = 0,
        min_confidence: float = 0.0,
        **options: Any,
    ) -> None:
        self.ontology = ontology
        self._segmenter = open_segmenter(bank, **options)
        self._min_area = min_area
        self._min_confidence = min_confidence
        for caption in ontology.prompts():
            if caption not in self._segmenter.names:
                raise UnknownNameError("class", caption, list(self._segmenter.names))
        self._places = {caption: at for at, caption in enumerate(ontology.prompts())}

    def predict(self, input: Any) -> Any:  # the name of the argument is autodistill's
        """Detect the regions of a photo.

        Args:
            input: A path, a PIL image, or pixels as OpenCV reads them (BGR).

        Returns:
            `supervision.Detections` with `mask`, `xyxy` (right and bottom are those of the last
            pixels), `class_id` (the place in the ontology) and `confidence`. None of a photo that
            cannot be read, whose reason is logged.
        """
        try:
            result = self._segmenter(_photo(input))
        except BadImageError as error:
            _log.warning("Left out: %s", error)
            return supervision.Detections.empty()
        assert result.segmentation is not None
        item = labelled(result.segmentation, min_area=self._min_area)
        found = [
            one
            for one in detections(result.segmentation, item, self._min_confidence)
            if one.name in self._places
        ]
        if not found:
            return supervision.Detections.empty()
        corners = np.array([one.region.corners for one in found], np.float32)
        return supervision.Detections(
            xyxy=corners - np.array([0, 0, 1, 1], np.float32),
            mask=np.stack([one.region.whole(*item.size) for one in found]),
            class_id=np.array([self._places[one.name] for one in found], int),
            confidence=np.array([one.confidence for one in found], np.float32),
        )


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
