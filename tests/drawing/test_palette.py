"""The colours of classes: apart from each other, for all eyes, and of even lightness."""

import numpy as np

from recoseg.drawing.palette import (
    _COLOUR_BLIND,
    _NATURAL,
    _as_seen,
    _from_lab,
    _to_lab,
    _to_srgb,
    colour_table,
    default_palette,
    palette_of,
)


def test_palette_colours_are_far_apart():
    colours = default_palette(255)
    assert len(set(colours)) == 255
    assert colours[:9] == default_palette(9)
    lab = _to_lab(np.array([*colours[:20], (255, 255, 255)]) / 255)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1e3 * np.eye(21)
    assert distance.min() > 20  # about nine times what the eye just tells apart
    assert colour_table(colours)[255].tolist() == [255, 255, 255]


def test_natural_colours_go_by_the_name():
    first, sky, third = palette_of(["dog", "Sky", "cat"])
    assert (first, third) == (default_palette(3)[0], default_palette(3)[2])
    assert sky == palette_of(["sky"])[0] != default_palette(2)[1]
    assert palette_of([]) == ()


def test_natural_colours_are_far_apart():
    colours = [*_NATURAL.values(), *default_palette(20), (255, 255, 255)]
    lab = _to_lab(np.array(colours) / 255)
    distance = np.linalg.norm(lab[:, None] - lab[None], axis=2) + 1e3 * np.eye(len(colours))
    assert distance.min() > 20


def test_lab_of_known_colours():
    lab = _to_lab(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 0.0]]))
    np.testing.assert_allclose(lab, [[100, 0, 0], [53.2, 80.1, 67.2]], atol=0.2)


def test_lab_is_undone():
    colours = np.random.default_rng(0).random((50, 3))
    np.testing.assert_allclose(_to_srgb(_from_lab(_to_lab(colours)).clip(0, 1)), colours, atol=1e-9)


def test_lightness_is_even():
    lightness = _to_lab(np.array(default_palette(255)) / 255)[:, 0]
    assert 38 < lightness.min() < lightness.max() < 90


def test_colour_blind_eyes_tell_the_first_eight_apart():
    grey = np.array([[0.2, 0.2, 0.2], [0.7, 0.7, 0.7]])
    for part in _as_seen(grey):  # greys are greys to all eyes
        np.testing.assert_allclose(part, _to_lab(grey), atol=0.01)
    for matrix in _COLOUR_BLIND:  # one of three dimensions is as good as lost
        assert np.linalg.svd(np.array(matrix))[1][2] < 0.05
    for part in _as_seen(np.array(default_palette(8)) / 255):
        distance = np.linalg.norm(part[:, None] - part[None], axis=2) + 1e3 * np.eye(8)
        assert distance.min() > 15
