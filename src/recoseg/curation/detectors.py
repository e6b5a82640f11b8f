"""OpenCV's detectors of faces and people, as a second judge beside the texts."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from recoseg.curation.measuring import Kind, Measures
from recoseg.curation.verdicts import Verdict
from recoseg.errors import MissingExtraError

FACE = 4.0
"""Limit of the score of a face: the sum of the cascade's last stage (Viola and Jones, 2001)."""
BODY = 1.0
"""Limit of the score of a body: its distance from the plane of the classifier (Dalal and Triggs,
2005)."""

_CASCADE = "haarcascade_frontalface_alt2.xml"
_SMALLEST = (64, 128)  # width and height of the window of bodies, pixels
_own = threading.local()


def check_detectors() -> None:
    """Refuse to go on without OpenCV.

    Raises:
        MissingExtraError: OpenCV is not installed, or is a version without these detectors.
    """
    try:
        _detectors()
    except (ImportError, AttributeError) as error:
        raise MissingExtraError("opencv-python-headless", "people", "--detector") from error


def _detectors() -> tuple[Any, Any]:
    """The detectors of faces and of bodies; each thread has its own."""
    import cv2

    if not hasattr(_own, "pair"):
        cv2.setNumThreads(1)  # photos are judged in threads already
        faces = cv2.CascadeClassifier(str(Path(cv2.data.haarcascades) / _CASCADE))
        bodies = cv2.HOGDescriptor()
        bodies.setSVMDetector(cv2.HOGDescriptor_getDefaultPeopleDetector())
        _own.pair = faces, bodies
    return _own.pair


def detect(pixels: np.ndarray, _: tuple[int, int]) -> np.ndarray:
    """The scores of the surest face and of the surest body, (2,) float32; 0 for none.

    Args:
        pixels: (h, w, 3) uint8, RGB.
    """
    import cv2

    faces, bodies = _detectors()
    grey = cv2.equalizeHist(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    _, _, sure = faces.detectMultiScale3(grey, 1.1, 3, minSize=(24, 24), outputRejectLevels=True)
    found = [max(np.ravel(sure), default=0.0), 0.0]
    if pixels.shape[1] >= _SMALLEST[0] and pixels.shape[0] >= _SMALLEST[1]:
        bgr = np.ascontiguousarray(pixels[..., ::-1])
        _, sure = bodies.detectMultiScale(bgr, winStride=(8, 8), scale=1.1)
        found[1] = max(np.ravel(sure), default=0.0)
    return np.array(found, np.float32)


PERSONS = Kind("persons-1", "Detecting people", ("face", "body"), 320, detect)
"""The scores of both detectors."""


def detected_people(measures: Measures) -> Verdict:
    """Leave out photos in which a detector is sure of a face or a body.

    Args:
        measures: Measures of the kind `PERSONS`.
    """
    scores = np.maximum(measures["face"] / FACE, measures["body"] / BODY)
    return Verdict.above("people", "people, by a detector", scores, 1.0)
