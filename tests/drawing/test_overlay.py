"""Overlays of large photos are made smaller, and all others have the size of their photo."""

import numpy as np
import pytest
from PIL import Image

from recoseg.drawing import overlay
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
