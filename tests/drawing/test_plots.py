import sys
import warnings

import matplotlib
import numpy as np
import pytest

from recoseg.drawing.confusion_plot import confusion_picture
from recoseg.drawing.plots import bar_picture, curve_picture
from recoseg.errors import MissingExtraError

DPI = 100
CELL = 36  # pixels at this dpi
BLUE = (0, 114, 178)


def pixels(picture):
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(int)


def corner(image):
    """Top left pixel of the matrix: above it nothing is drawn, and left of it only names."""
    dark = (np.abs(image - 255).sum(-1) > 20).sum(1) > image.shape[1] // 2
    top = int(np.argmax(dark))
    left = int(np.argmax(np.abs(image[top] - 255).sum(-1) > 20))
    return left, top


def cells(counts, names):
    """The colour near each cell's upper left corner, where no number stands."""
    image = pixels(confusion_picture(np.array(counts), names, dpi=DPI))
    left, top = corner(image)
    across = len(names) + bool(np.array(counts)[:, -1].any())
    return np.array(
        [
            [image[top + row * CELL + 5, left + column * CELL + 5] for column in range(across)]
            for row in range(len(names))
        ]
    )


def test_cells_are_darker_where_the_share_of_the_row_is_larger():
    names = ["a", "b", "c", "d"]
    counts = [[9, 1, 0, 0, 0], [10, 10, 80, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 5, 5]]
    found = cells(counts, names)
    assert found.shape == (4, 5, 3)
    light = found.sum(-1)
    assert light[0, 0] < light[0, 1] < light[0, 2]
    assert light[1, 2] < light[1, 0] == light[1, 1] < light[1, 3]
    assert (found[2] == (232, 232, 232)).all(), "not in the truth: grey"
    assert light[3, 3] == light[3, 4] < light[3, 0]
    assert light[0, 1] == light[1, 0], "shares of rows, not counts"


def test_the_column_without_a_prediction_is_left_out_where_there_is_none():
    names = ["a", "b", "c"]
    full = confusion_picture(np.array([[1, 1, 0, 0], [0, 2, 0, 0], [0, 0, 3, 0]]), names, dpi=DPI)
    more = confusion_picture(np.array([[1, 1, 0, 0], [0, 2, 0, 1], [0, 0, 3, 0]]), names, dpi=DPI)
    assert more.width - full.width == pytest.approx(CELL, abs=2)


@pytest.mark.parametrize(("classes", "cell"), [(11, 0.36), (27, 0.36), (60, 0.24), (171, 0.1)])
def test_the_size_grows_with_the_classes(classes, cell):
    rng = np.random.default_rng(classes)
    counts = rng.integers(0, 5, (classes, classes + 1))
    picture = confusion_picture(counts, [f"c{n}" for n in range(classes)], dpi=50)
    matrix = 50 * cell * classes
    assert matrix < picture.height < matrix + 100
    assert matrix + 50 * cell < picture.width < 1.1 * matrix + 120


def test_curves_have_their_colours_and_a_legend_when_there_are_several():
    one = curve_picture([1, 5, 50], {"a": [1, 2, 3]}, "seeds", "mIoU", dpi=DPI)
    two = curve_picture([1, 5, 50], {"a": [1, 2, 3], "b": [3, 2, 1]}, "seeds", "mIoU", dpi=DPI)
    assert (pixels(one) == BLUE).all(-1).sum() > 100
    assert not (pixels(one) == (213, 94, 0)).all(-1).any()
    assert (pixels(two) == (213, 94, 0)).all(-1).sum() > 100
    assert two.width > one.width


def test_curves_leave_gaps_where_there_is_no_value():
    whole = curve_picture(["x", "y", "z", "w"], {"a": [1, 2, 2, 1]}, "", "", dpi=DPI)
    gap = curve_picture(["x", "y", "z", "w"], {"a": [1, 2, np.nan, 1]}, "", "", dpi=DPI)
    assert (pixels(gap) == BLUE).all(-1).sum() < 0.7 * (pixels(whole) == BLUE).all(-1).sum()


def test_bars_are_as_long_as_their_values():
    image = pixels(bar_picture(["a", "b", "none"], [2.0, 1.0, np.nan], "mIoU", dpi=DPI))
    lengths = (image == BLUE).all(-1).sum(1)
    long, short = lengths.max(), np.unique(lengths[lengths > 0]).min()
    assert long == pytest.approx(520 / 1.1, abs=3)
    assert long / short == pytest.approx(2, abs=0.03)
    rows = np.nonzero(lengths)[0]
    assert lengths[rows[0] + 2] > lengths[rows[-1] - 2], "the first bar is at the top"


def test_neither_the_users_style_nor_earlier_pictures_matter():
    def picture():
        return pixels(bar_picture(["a$x$", "b"], [1, 2], "mIoU", dpi=DPI))

    first = picture()
    with matplotlib.rc_context({"font.size": 30.0, "axes.facecolor": "red"}):
        assert np.array_equal(picture(), first)
        assert matplotlib.rcParams["font.size"] == 30
    curve_picture([1, 2], {"a": [1, 2]}, "", "")
    assert np.array_equal(picture(), first)


def test_names_are_no_formulas():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = confusion_picture(np.array([[1, 0, 0], [0, 1, 0]]), ["$", "a_$b"], dpi=DPI)
    assert picture.width > 2 * CELL


def test_without_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'recoseg\[plots\]'"):
        bar_picture(["a"], [1.0], "mIoU")
    with pytest.raises(MissingExtraError, match="matplotlib"):
        confusion_picture(np.array([[1, 0]]), ["a"])
