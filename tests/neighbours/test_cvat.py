"""The function for CVAT's client: its labels, exact masks, polygons, and its threshold."""

import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

from recoseg.errors import MissingExtraError
from tests.neighbours.conftest import NAMES, options

cvat_sdk = pytest.importorskip("cvat_sdk.auto_annotation", reason="needs cvat-sdk")
masks = pytest.importorskip("cvat_sdk.masks")


def context(polygons=False, threshold=None):
    return SimpleNamespace(conv_mask_to_poly=polygons, conf_threshold=threshold, frame_name="a.png")


@pytest.fixture
def function(bank):
    from recoseg.neighbours import cvat

    def made(**given):
        return cvat.create(bank, **given, **options())

    return made


def test_the_labels(function):
    spec = function().spec
    assert isinstance(spec, cvat_sdk.DetectionFunctionSpec)
    assert [(label.name, label.id, label.type) for label in spec.labels] == [
        (name, at, "mask") for at, name in enumerate(NAMES)
    ]


def test_masks_are_exact(function, photo, result):
    shapes = function().detect(context(), Image.fromarray(photo))
    height, width = result.labels.shape
    painted = np.full_like(result.labels, result.ignore_index)
    for shape in shapes:
        assert (shape.frame, shape.type.value) == (0, "mask")
        mask = masks.decode_mask(shape.points, image_width=width, image_height=height)
        assert (painted[mask] == result.ignore_index).all()
        painted[mask] = shape.label_id
    assert np.array_equal(painted, result.labels)
    few = function(min_area=150).detect(context(), Image.fromarray(photo))
    assert 0 < len(few) < len(shapes)


def test_polygons_where_cvat_asks_for_them(function, photo, result):
    pytest.importorskip("shapely")
    shapes = function(tolerance=0.0).detect(context(polygons=True), Image.fromarray(photo))
    assert {shape.type.value for shape in shapes} == {"polygon"}
    height, width = result.labels.shape
    scale = 8
    for label in range(len(NAMES)):
        canvas = Image.new("L", (width * scale, height * scale))
        for shape in shapes:
            if shape.label_id == label:
                corners = [tuple(p) for p in (np.reshape(shape.points, (-1, 2)) * scale - 0.5)]
                ImageDraw.Draw(canvas).polygon(corners, fill=255)
        centres = np.asarray(canvas)[scale // 2 :: scale, scale // 2 :: scale] > 0
        assert np.array_equal(centres, result.labels == label)


def test_the_threshold(function, photo):
    every = function().detect(context(), Image.fromarray(photo))
    assert function().detect(context(threshold=1.0), Image.fromarray(photo)) == []
    assert len(function().detect(context(threshold=0.0), Image.fromarray(photo))) == len(every)


def test_the_command_line_of_cvat_takes_it(bank, tmp_path, photo, monkeypatch):
    common = pytest.importorskip("cvat_cli._internal.common", reason="needs cvat-cli")
    from recoseg.pipeline import segment

    bank.save(tmp_path / "bank.safetensors")
    opened = segment.open_segmenter
    monkeypatch.setattr(
        "recoseg.neighbours.cvat.open_segmenter", lambda source: opened(source, **options())
    )
    loader = common.FunctionLoader(
        "recoseg.neighbours.cvat", None, {"bank": str(tmp_path / "bank.safetensors")}
    )
    loaded = loader.load()
    assert [label.name for label in loaded.spec.labels] == list(NAMES)
    shapes = loaded.detect(context(), Image.fromarray(photo))
    sent = [shape.to_dict() for shape in shapes]
    assert json.loads(json.dumps(sent, default=str))[0]["type"] == "mask"


def test_without_the_client_the_extra_is_named(function, monkeypatch):
    monkeypatch.setitem(sys.modules, "cvat_sdk.auto_annotation", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'recoseg\[cvat\]'"):
        function()
