"""Overlays of large photos are made smaller, and all others have the size of their photo."""

import numpy as np
import pytest
from PIL import Image

from recoseg.drawing import overlay
from recoseg.drawing.overlay import draw_overlay
from recoseg.drawing.palette import default_palette
from recoseg.labels import Segmentation


@pytest.mark.parametrize(("width", "height"), [(900, 600), (1, 5000), (5000, 40)])
def test_overlays_of_large_photos_are_smaller(width, height, monkeypatch):
    monkeypatch.setattr(overlay, "MAX_OVERLAY", 2000)
    labels = np.zeros((height, width), np.uint8)
    labels[height // 2 :] = 1
    found = Segmentation(labels, ("sky", "sea"), ((255, 0, 0), (0, 0, 255)))
    photo = Image.new("RGB", (width, height))
    drawn = overlay.draw_overlay(photo, found, opacity=1.0, legend=False)
    factor = drawn.width if min(width, height) == 1 else 9  # small ones are enlarged again
    assert drawn.width * drawn.height <= 2000 * factor**2
    pixels = np.asarray(drawn)
    assert tuple(pixels[0, 0]) == (255, 0, 0)
    assert tuple(pixels[-1, -1]) == (0, 0, 255)


def test_overlays_up_to_the_limit_have_the_size_of_the_photo(monkeypatch):
    labels = np.random.default_rng(0).integers(0, 2, (500, 600), np.uint8)
    found = Segmentation(labels, ("sky", "sea"), ((255, 0, 0), (0, 0, 255)))
    photo = Image.linear_gradient("L").resize((600, 500)).convert("RGB")
    whole = np.asarray(overlay.draw_overlay(photo, found, legend=False))
    monkeypatch.setattr(overlay, "MAX_OVERLAY", 300_000)
    np.testing.assert_array_equal(
        np.asarray(overlay.draw_overlay(photo, found, legend=False)), whole
    )
    assert whole.shape == (500, 600, 3)
    monkeypatch.setattr(overlay, "MAX_OVERLAY", 299_999)
    assert overlay.draw_overlay(photo, found, legend=False).size < (600, 500)


def make(labels, names=("sky", "été")):
    return Segmentation(np.array(labels, np.uint8), names, default_palette(len(names)))


@pytest.mark.parametrize("size", [(1, 1), (31, 17), (640, 97), (97, 1201)])
def test_overlay_fits_any_size(size):
    width, height = size
    names = tuple(f"a very long class name, number {i}" for i in range(40))
    labels = np.arange(width * height).reshape(height, width) % 40
    photo = Image.new("RGB", size, (9, 9, 9))
    overlay = draw_overlay(photo, make(labels, names))
    bare = draw_overlay(photo, make(labels, names), legend=False)
    assert max(bare.size) >= 480
    assert overlay.width == bare.width
    assert overlay.height > bare.height
    assert np.asarray(overlay)[bare.height :].std() > 0


def test_overlay_leaves_background_as_it_is():
    photo = Image.new("RGB", (600, 2), (10, 20, 30))
    labels = np.full((2, 600), 255)
    labels[:, :200] = 0
    result = make(labels)
    bare = np.asarray(draw_overlay(photo, result, opacity=0.5, legend=False))
    assert bare[0, 400].tolist() == [10, 20, 30]
    expected = (np.array([10, 20, 30]) + np.array(result.palette[0])) / 2
    assert np.abs(bare[0, 50] - expected).max() <= 1
    with pytest.raises(ValueError, match="600 x 2"):
        draw_overlay(Image.new("RGB", (2, 2)), result)


def slow_contours(labels, least):
    """Pixels before a change of label, with `least` equal pixels before it and after it."""
    found = np.zeros(labels.shape, bool)
    for turned, marks in ((labels, found), (labels.T, found.T)):
        for y, row in enumerate(turned):
            starts = [0, *(x for x in range(1, len(row)) if row[x] != row[x - 1]), len(row)]
            for at in range(1, len(starts) - 1):
                sides = [starts[at] - starts[at - 1], starts[at + 1] - starts[at]]
                inner = [sides[0] if at > 1 else least, sides[1] if at < len(starts) - 2 else least]
                if min(inner) >= least:
                    marks[y, starts[at] - 1] = True
    return found


@pytest.mark.parametrize("shape", [(1, 40), (30, 31), (40, 1), (1, 1)])
def test_contours_equal_a_slow_search(shape, monkeypatch):
    monkeypatch.setattr(overlay, "_THICKEST_SPECK", 3 / max(shape))
    for seed in range(4):
        generator = np.random.default_rng(seed)
        small = generator.integers(0, 3, [-(-side // 3) for side in shape])
        labels = small.repeat(3, 0).repeat(3, 1)[: shape[0], : shape[1]].astype(np.uint8)
        labels[generator.random(shape) < 0.05] = 7  # specks
        expected = slow_contours(labels, max(2, 3))
        np.testing.assert_array_equal(overlay._contours(labels), expected)


def test_specks_have_no_contour():
    labels = np.zeros((200, 400), np.uint8)
    labels[:, 200:] = 1
    labels[50:53, 50:53] = 1
    contours = overlay._contours(labels)
    assert contours[:, 199].all()
    assert contours.sum() == 200


def test_names_stand_on_their_regions():
    labels = np.zeros((300, 600), np.uint8)
    labels[:, 300:] = 1
    labels[:20, :20] = 2  # too small for its name
    found = make(labels, ("dog", "cat", "a long name"))
    photo = Image.new("RGB", (600, 300), (90, 90, 90))
    named = np.asarray(draw_overlay(photo, found))[:300]
    bare = np.asarray(draw_overlay(photo, found, legend=False))
    rows, columns = (named != bare).any(2).nonzero()
    left, right = columns[columns < 300], columns[columns >= 300]
    assert abs(left.mean() - 150) < 30
    assert abs(right.mean() - 450) < 30
    assert abs(rows.mean() - 150) < 30
    assert not (named != bare)[:20, :20].any()


def test_the_deepest_place_of_a_mask():
    mask = np.zeros((9, 12), bool)
    mask[1:8, 2:9] = True
    depth = overlay._depth(mask)
    assert np.unravel_index(depth.argmax(), depth.shape) == (4, 5)
    assert depth.max() == 4
    assert (depth > 0).sum() == mask.sum()


def test_the_legend_leaves_out_what_reads_as_nothing():
    labels = np.zeros((200, 200), np.uint8)
    labels[0, :19] = 1  # 0.0475 %
    labels[1, :20] = 2
    texts = [item.text for item in overlay._legend_items(make(labels, ("a", "b", "c")))]
    assert texts == ["a 99.9%", "c 0.1%"]
    nothing = make(np.full((3, 3), 255))
    assert [item.text for item in overlay._legend_items(nothing)] == ["(background) 100.0%"]
