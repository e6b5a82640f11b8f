"""A base model of autodistill: detections of a photo, and a folder labelled for YOLO."""

import logging

import numpy as np
import pytest
from PIL import Image, ImageDraw

from recoseg.errors import UnknownNameError
from tests.neighbours.conftest import options

pytest.importorskip("autodistill.detection", reason="needs autodistill and roboflow")


@pytest.fixture
def model(bank):
    from autodistill.detection import CaptionOntology

    from recoseg.neighbours.autodistill import base_model

    def made(captions, **given):
        return base_model(CaptionOntology(captions), bank, **given, **options())

    return made


def test_detections(model, photo, result, tmp_path):
    captions = {"blue": "sea", "red": "rose"}
    found = model(captions).predict(photo[..., ::-1])  # as OpenCV reads it
    assert set(found.class_id.tolist()) == {0, 1}
    for place, name in enumerate(captions):
        union = found.mask[found.class_id == place].any(0)
        assert np.array_equal(union, result.mask(name))
    for mask, box in zip(found.mask, found.xyxy, strict=True):
        rows, columns = np.nonzero(mask)
        assert box.tolist() == [columns.min(), rows.min(), columns.max(), rows.max()]
    assert ((found.confidence > 0) & (found.confidence <= 1)).all()
    Image.fromarray(photo).save(tmp_path / "a.png")
    for given in (Image.fromarray(photo), str(tmp_path / "a.png")):
        assert np.array_equal(model(captions).predict(given).mask, found.mask)
    assert len(model(captions, min_confidence=1.0).predict(photo)) == 0


def test_captions_are_classes_of_the_bank(model):
    with pytest.raises(UnknownNameError, match=r"Unknown class 'blu'\. Did you mean 'blue'"):
        model({"blu": "sea"})


def test_a_folder_is_labelled(model, photo, result, tmp_path, caplog):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(5):
        Image.fromarray(photo).save(folder / f"{number}.png")
    model({"red": "rose", "blue": "sea"}).label(str(folder), extension=".png")
    out = tmp_path / "photos_labeled"
    labels = sorted(out.rglob("labels/*.txt"))
    assert len(labels) == 5
    lines = [line.split() for line in labels[0].read_text().splitlines()]
    assert {line[0] for line in lines} == {"0", "1"}
    canvas = Image.new("L", photo.shape[1::-1])
    for line in lines:
        if line[0] == "0":
            points = np.reshape([float(x) for x in line[1:]], (-1, 2)) * photo.shape[1::-1]
            ImageDraw.Draw(canvas).polygon([tuple(point) for point in points], fill=255)
    painted, mask = np.asarray(canvas) > 0, result.mask("red")
    assert (painted & mask).sum() / (painted | mask).sum() > 0.8


def test_photos_that_cannot_be_read(model, caplog):
    with caplog.at_level(logging.WARNING):
        assert len(model({"red": "rose"}).predict(None)) == 0
    assert "Left out: a photo that OpenCV cannot read" in caplog.text
