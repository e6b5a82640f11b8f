"""OpenCV's detector finds a face and none in other pictures, and is asked for if absent."""

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from recoseg.curation.detectors import FACES, check_detectors, detect_faces, detected_people
from recoseg.curation.measuring import Measures
from recoseg.errors import MissingExtraError
from tests.curation.pictures import drawn, sharp


def test_a_face_is_found_in_threads():
    pytest.importorskip("cv2")
    data = pytest.importorskip("skimage.data")
    face = Image.fromarray(data.astronaut()).resize((320, 320))
    pictures = [face, sharp(0), drawn(), Image.new("RGB", (20, 20))]
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda one: detect_faces(np.asarray(one), one.size), pictures))
    measures = Measures(FACES.columns, np.stack(found), ())
    assert detected_people(measures).is_out.tolist() == [True, False, False, False]


def test_photos_that_were_not_read_are_not_judged():
    measures = Measures(FACES.columns, np.array([[np.nan], [5]], np.float32), ())
    assert detected_people(measures).is_out.tolist() == [False, True]


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'recoseg\[people\]'"):
        check_detectors()
