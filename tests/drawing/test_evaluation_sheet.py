import numpy as np
import pytest
from PIL import Image

from recoseg.drawing.evaluation_sheet import SheetRow, contact_sheet

PALETTE = ((0, 128, 0), (90, 160, 255), (200, 30, 30))
NAMES = ("tree", "sky", "tram")
WIDTH, GAP, MARGIN = 100, 6, 24


def row(name="a/1", miou=0.5, size=(50, 40), group="", preds=1):
    """A yellow photo; above tree, below void; one class predicted everywhere."""
    target = np.zeros((size[1], size[0]), np.uint8)
    target[size[1] // 2 :] = 255
    image = Image.new("RGB", size, (250, 200, 0))
    return SheetRow(name, miou, image, target, np.full_like(target, preds), group)


def draw(rows):
    return np.asarray(contact_sheet(rows, PALETTE, NAMES, panel_width=WIDTH))


def box_of(sheet, colour):
    """Left, top, right and bottom of a colour, the last two exclusive."""
    ys, xs = np.nonzero((sheet == colour).all(-1))
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


def test_the_three_panels_stand_side_by_side():
    sheet = draw([row()])
    assert sheet.shape[1] == 3 * WIDTH + 2 * GAP + 2 * MARGIN
    left, top, right, bottom = box_of(sheet, (250, 200, 0))
    assert (left, right - left, bottom - top) == (MARGIN, WIDTH, 80)
    truth, preds = left + WIDTH + GAP, left + 2 * (WIDTH + GAP)
    assert sheet[top + 20, truth + 50].tolist() == [0, 128, 0]
    assert sheet[top + 60, truth + 50].tolist() == [255, 255, 255], "void is white"
    assert sheet[top + 60, preds + 50].tolist() == [90, 160, 255]
    # A void edge is told from the page by a thin line.
    assert 150 < sheet[top + 60, truth].max() < 255
    assert sheet[top + 60, truth + 1].min() == 255


def test_nothing_predicted_is_white():
    sheet = draw([row(preds=255)])
    left, top, *_ = box_of(sheet, (250, 200, 0))
    assert sheet[top + 5, left + 2 * (WIDTH + GAP) + 50].tolist() == [255, 255, 255]


def test_groups_stand_beside_each_other():
    rows = [row("1", group="best"), row("2", group="best"), row("3", group="worst", preds=2)]
    sheet = draw(rows)
    cell = 3 * WIDTH + 2 * GAP
    assert sheet.shape[1] == 2 * cell + 3 * MARGIN
    left, top, right, bottom = box_of(sheet, (250, 200, 0))
    assert (left, right) == (MARGIN, 2 * MARGIN + cell + WIDTH)
    assert sheet[top + 10, right + 2 * GAP + WIDTH + 50].tolist() == [200, 30, 30]
    # The second row is there on the left only.
    assert sheet[bottom - 10, MARGIN + 50].tolist() == [250, 200, 0]
    assert (sheet[bottom - 80 : bottom, MARGIN + cell + GAP :] == 255).all()


def test_a_high_photo_is_no_higher_than_wide_and_centred():
    left, top, right, bottom = box_of(draw([row(size=(30, 60))]), (250, 200, 0))
    assert (bottom - top, right - left, left) == (WIDTH, 50, MARGIN + 25)


def test_the_legend_has_the_classes_that_occur():
    for preds, shown in ((1, (0, 1)), (0, (0,)), (255, (0,)), (2, (0, 2))):
        sheet = draw([row(preds=preds)])
        legend = sheet[box_of(sheet, (250, 200, 0))[3] + 20 :]
        found = [n for n, colour in enumerate(PALETTE) if (legend == colour).all(-1).any()]
        assert tuple(found) == shown


def test_captions_are_drawn_and_long_names_leave_room_for_the_score():
    def caption(**changes):
        sheet = draw([row(**changes)])
        bottom = box_of(sheet, (250, 200, 0))[3]
        return sheet[bottom + 1 : bottom + 20, MARGIN:-MARGIN]

    plain = caption()
    assert (plain[:, :50] < 200).any(), "the name"
    assert (plain[:, -50:] < 100).any(), "the score"
    assert not np.array_equal(caption(miou=0.25)[:, -50:], plain[:, -50:])
    assert not np.array_equal(caption(miou=None), plain)
    long = caption(name="street/" * 60 + "end")
    assert np.array_equal(long[:, -60:], plain[:, -60:])


def test_the_picture_is_the_same_every_time():
    rows = [row(group="größte"), row(group="worst", preds=2)]
    assert np.array_equal(draw(rows), draw(rows))


def test_nothing_to_show():
    with pytest.raises(ValueError, match="at least one row"):
        contact_sheet([], PALETTE, NAMES)
