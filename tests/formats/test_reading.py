"""Formats are read back as they were written, and damaged files are told."""

import json
import pickle

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from recoseg.errors import BadImageError, DatasetError
from recoseg.formats.reading.open_format import open_format
from recoseg.formats.reading.pixels import coco_lengths, fill, from_brush, from_runs
from recoseg.formats.rle_pack import encode_brush
from tests.formats.photos import NAMES
from tests.formats.slow_readers import READERS, brush, compressed, inside


@pytest.mark.slow
@pytest.mark.parametrize("polygons", [False, True])
@pytest.mark.parametrize("name", READERS)
def test_masks_are_read_as_they_were_written(photos, written, name, polygons):
    found = open_format(written[polygons] / name)
    assert found.form == name.removesuffix("-stuff")
    assert found.names == NAMES
    assert found.read.keys() == photos[1].keys()
    for photo, labels in photos[1].items():
        own = found.read[photo]()
        assert own.dtype == labels.dtype
        assert np.array_equal(own, labels), photo


@settings(max_examples=200, deadline=None)
@example([(0, 0), (0, 0), (1.25, 1.25)])
@given(st.lists(st.tuples(*[st.integers(-8, 40).map(lambda n: n / 4)] * 2), min_size=3))
def test_polygons_have_the_pixels_of_the_slow_rule(points):
    # No side runs through the centre of a pixel, where rounding would decide.
    shifted = [(x + 1e-4, y + 2**0.5 * 1e-4) for x, y in points]
    mask, left, top = fill(shifted)
    own = np.zeros((16, 16), bool)
    own[top + 3 : top + 3 + mask.shape[0], left + 3 : left + 3 + mask.shape[1]] = mask
    assert np.array_equal(own, inside([(x + 3, y + 3) for x, y in shifted], 16, 16))


@given(st.lists(st.booleans(), min_size=1, max_size=60))
def test_brushes_are_decoded_as_they_were_encoded(values):
    mask = np.array([values])
    numbers = encode_brush(mask)
    assert np.array_equal(from_brush(numbers, *mask.shape), mask)
    alpha = np.reshape(brush(numbers), (*mask.shape, 4))[..., 3] == 255
    assert np.array_equal(alpha, mask)


@pytest.mark.parametrize("text", ["0", "52203", "PPYo0", "0101010", "oN1"])
def test_letters_of_coco_are_the_lengths_of_the_slow_rule(text):
    assert coco_lengths(text) == compressed(text)


@pytest.mark.parametrize(
    "broken",
    [
        lambda: coco_lengths("é"),
        lambda: coco_lengths("o"),
        lambda: coco_lengths("o" * 20),
        lambda: from_runs([3, 2], 2, 2),
        lambda: from_runs([5, -1], 2, 2),
        lambda: fill([(0, 0), (1, 1)]),
        lambda: fill([(0, 0), (1, 1), (float("nan"), 1)]),
        lambda: fill([(0, 0), (1, 1), (1e12, 1)]),
        lambda: from_brush(encode_brush(np.ones((2, 2), bool)), 3, 3),
        lambda: from_brush(encode_brush(np.ones((2, 2), bool))[:7], 2, 2),
    ],
)
def test_damaged_shapes_are_refused(broken):
    with pytest.raises((ValueError, IndexError)):
        broken()


COCO = {
    "images": [{"id": 7, "file_name": "a/b.c.jpg", "height": 2, "width": 3}],
    "categories": [{"id": 9, "name": "cat"}, {"id": 2, "name": "dog"}],
    "annotations": [
        {"image_id": 7, "category_id": 2, "segmentation": [[0, 0, 2, 0, 2, 2, 0, 2]]},
        {
            "image_id": 7,
            "category_id": 9,
            "segmentation": {"size": [2, 3], "counts": [2, 2, 2]},
            "iscrowd": 1,
        },
    ],
}


def coco(tmp_path, **changes):
    path = tmp_path / "instances_val.json"
    path.write_text(json.dumps({**COCO, **changes}))
    return path


def test_files_of_others_have_their_own_numbers_and_layers(tmp_path):
    found = open_format(coco(tmp_path))
    assert found.names == ("dog", "cat")
    assert found.read["a/b.c"]().tolist() == [[0, 1, 255], [0, 1, 255]]
    assert found.find("a/b.c") == "a/b.c"
    assert found.find("b.c") == "a/b.c"
    assert found.find("x/a/b.c") == "a/b.c"
    assert found.find("x/b.c") is None
    assert found.find("c") is None


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"categories": []}, "no classes"),
        ({"categories": [{"id": 1, "name": "x"}, {"id": 2, "name": "x"}]}, "two classes"),
        ({"categories": [{"id": 1}]}, "no field 'name'"),
        ({"annotations": 3}, "neither annotations of COCO"),
        ({"annotations": [{"image_id": 7}]}, "no field 'category_id'"),
        ({"images": [[]]}, "is not as the format coco has it"),
    ],
)
def test_files_with_other_fields_are_told(tmp_path, changes, text):
    with pytest.raises(DatasetError, match=text):
        open_format(coco(tmp_path, **changes))


@pytest.mark.parametrize(
    "segmentation",
    [[[1, 2]], [[1, 2, 3]], {"size": [9, 9], "counts": "0"}, {"size": [2, 3], "counts": "é"}, {}],
)
def test_a_damaged_mask_is_the_failure_of_its_photo(tmp_path, segmentation):
    one = [{"image_id": 7, "category_id": 2, "segmentation": segmentation}]
    found = open_format(coco(tmp_path, annotations=one))
    with pytest.raises(BadImageError, match="damaged"):
        found.read["a/b.c"]()


@pytest.mark.parametrize("name", ["a.json", "a.xml", "a.yaml"])
@pytest.mark.parametrize("text", ["", "{", "[1, 2", "\0", "[" * 100_000])
def test_files_that_are_damaged_are_told(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(DatasetError):
        open_format(tmp_path / name)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"shapes": []}'])
def test_other_json_files_beside_masks_do_no_harm(tmp_path, text):
    (tmp_path / "notes.json").write_text(text)
    assert open_format(tmp_path) is None


def test_masks_can_be_sent_to_other_processes(tmp_path):
    found = open_format(coco(tmp_path))
    read = pickle.loads(pickle.dumps(found.read["a/b.c"]))
    assert np.array_equal(read(), found.read["a/b.c"]())


def test_other_folders_are_none_of_the_formats(tmp_path):
    Image.new("L", (2, 2)).save(tmp_path / "a.png")
    assert open_format(tmp_path) is None
