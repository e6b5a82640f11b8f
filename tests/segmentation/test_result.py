import numpy as np
import pytest
from PIL import Image

from recoseg.errors import BadImageError, UnknownNameError
from recoseg.labels import Segmentation
from recoseg.photos.refs import Photo
from recoseg.segmentation.result import Result

LABELS = np.array([[0, 1, 1], [255, 1, 0]], np.uint8)


def made():
    palette = ((255, 0, 0), (0, 255, 0), (0, 0, 255))
    segmentation = Segmentation(LABELS, ("sky", "tree", "cow"), palette)
    return Result(Photo("a.jpg"), Image.new("RGB", (3, 2), (9, 9, 9)), segmentation)


def test_masks_are_boolean_and_largest_first():
    result = made()
    assert list(result.masks()) == ["tree", "sky"]
    for name, label in (("sky", 0), ("tree", 1), ("cow", 2)):
        mask = result.mask(name)
        assert (mask.shape, mask.dtype) == ((2, 3), bool)
        np.testing.assert_array_equal(mask, label == LABELS)
    np.testing.assert_array_equal(result.masks()["tree"], result.mask("tree"))
    with pytest.raises(UnknownNameError, match=r"Unknown class 'dog'. Valid: sky, tree, cow"):
        result.mask("dog")


def test_areas_overlay_and_the_rest():
    result = made()
    assert result.areas() == {"tree": 0.5, "sky": pytest.approx(1 / 3)}
    assert (result.failure, result.scores, result.ignore_index) == ("", None, 255)
    assert result.names == ("sky", "tree", "cow")
    assert result.palette[1] == (0, 255, 0)
    bare = result.overlay(opacity=1, legend=False)
    assert bare.getpixel((0, 0)) == (255, 0, 0)
    assert result.overlay().height > bare.height
    assert [part["label"] for part in result.to_transformers()] == ["tree", "sky"]


@pytest.mark.parametrize(
    "use", [lambda one: one.labels, lambda one: one.mask("sky"), lambda one: one.overlay()]
)
def test_a_failed_photo_says_why(use):
    failed = Result(Photo("a.jpg").failed("the file is empty"))
    assert failed.failure == "the file is empty"
    with pytest.raises(BadImageError, match=r"^a\.jpg: the file is empty$"):
        use(failed)
    with pytest.raises(BadImageError, match=r"^the file is empty$"):
        use(Result(Photo("").failed("the file is empty")))
