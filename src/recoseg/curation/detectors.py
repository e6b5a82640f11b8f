"""OpenCV's detector of faces, as a second judge of people beside the texts."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from recoseg.curation.measuring import Kind, Measures
from recoseg.curation.verdicts import Verdict
from recoseg.errors import MissingExtraError

LEAST = 3
"""Least number of overlapping windows in which a face is found."""

_CASCADE = "haarcascade_frontalface_alt2.xml"  # comes with OpenCV
_SMALLEST = 24  # side of a face, pixels
_STEP = 1.1  # between two sizes of the window
_own = threading.local()


def check_detectors() -> None:
    """Refuse to go on without OpenCV.

    Raises:
        MissingExtraError: OpenCV is not installed, or is a version without this detector.
    """
    try:
        _detector()
    except (ImportError, AttributeError) as error:
        raise MissingExtraError("opencv-python-headless", "people", "--detector") from error


def _detector() -> Any:
    """The cascade of Viola and Jones (2001); each thread has its own."""
    import cv2

    if not hasattr(_own, "faces"):
        cv2.setNumThreads(1)  # photos are judged in threads already
        folder: str = cv2.data.haarcascades  # type: ignore[attr-defined, unused-ignore]
        _own.faces = cv2.CascadeClassifier(str(Path(folder) / _CASCADE))
    return _own.faces


def detect_faces(pixels: np.ndarray, _: tuple[int, int]) -> np.ndarray:
    """The number of overlapping windows in which the surest face is found, (1,) float32.

    Args:
        pixels: (h, w, 3) uint8, RGB.
    """
    import cv2

    grey = cv2.equalizeHist(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY))
    least = (_SMALLEST, _SMALLEST)
    _, windows = _detector().detectMultiScale2(grey, _STEP, LEAST, minSize=least)
    return np.array([max(np.ravel(windows), default=0)], np.float32)


FACES = Kind("faces-1", "Detecting faces", ("windows",), 320, detect_faces)
"""The detector's measure, at a short side of 320 pixels."""


def detected_people(measures: Measures) -> Verdict:
    """Leave out photos in which a frontal face is found.

    Args:
        measures: Measures of the kind `FACES`.
    """
    return Verdict.above("people", "people, by their faces", measures["windows"], LEAST - 0.5)
