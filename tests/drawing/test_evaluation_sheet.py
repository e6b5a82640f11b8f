import numpy as np
import pytest
from PIL import Image

from recoseg.drawing.evaluation_sheet import SheetRow, contact_sheet

PALETTE = ((0, 128, 0), (90, 160, 255), (200, 30, 30))
NAMES = ("tree", "sky", "tram")
WIDTH, GAP, MARGIN = 100, 6, 24


PHOTO = (250, 200, 0)


def row(name="a/1", miou=0.5, size=(50, 40), group="", preds=1):
    """A yellow photo; above tree, below void; one class predicted everywhere."""
    target = np.zeros((size[1], size[0]), np.uint8)
    target[size[1] // 2 :] = 255
    image = Image.new("RGB", size, PHOTO)
    return SheetRow(name, miou, image, target, np.full_like(target, preds), group)


def draw(rows):
    return np.asarray(contact_sheet(rows, PALETTE, NAMES, panel_width=WIDTH))


def painted(label):
    """The colour of a class, half and half with the photo's."""
    return tuple(sum(pair) // 2 for pair in zip(PHOTO, PALETTE[label], strict=True))


def box_of(sheet, *colours):
    """Left, top, right and bottom of some colours, the last two exclusive."""
    ys, xs = np.nonzero(np.any([(sheet == colour).all(-1) for colour in colours], axis=0))
    return xs.min(), ys.min(), xs.max() + 1, ys.max() + 1


def test_truth_and_prediction_are_painted_over_the_photo():
    sheet = draw([row()])
    assert sheet.shape[1] == 3 * WIDTH + 2 * GAP + 2 * MARGIN
    left, top, right, bottom = box_of(sheet, PHOTO, painted(0), painted(1))
    assert (left, right, bottom - top) == (MARGIN, sheet.shape[1] - MARGIN, 80)
    photo, truth, preds = (
        sheet[top:bottom, left + n * (WIDTH + GAP) :][:, :WIDTH] for n in range(3)
    )
    assert (photo == PHOTO).all()
    assert sheet[top:bottom, left + WIDTH : left + WIDTH + GAP].min() == 255
    assert (truth[:38, -10:] == painted(0)).all()
    assert (truth[42:] == PHOTO).all(), "void is left as it is"
    assert (preds[:, -10:] == painted(1)).all()
    # The border of truth and void has a contour of one pixel, as in overlays.
    light = (truth[:, -5].min(axis=-1) > 180).nonzero()[0]
    assert light.tolist() == [39]


def test_names_are_written_on_regions_as_far_as_they_fit():
    def written(**changes):
        sheet = draw([row(**changes)])
        left, top, *_ = box_of(sheet, PHOTO)
        panel = sheet[top : top + 80, left + 2 * (WIDTH + GAP) :][:, :WIDTH]
        return np.unique(panel.reshape(-1, 3), axis=0)

    assert (written(preds=1) < 60).all(-1).any(), "letters have a dark rim"
    assert (written(preds=1) > 240).all(-1).any(), "and are light"
    assert written(preds=255).tolist() == [list(PHOTO)]
    narrow = contact_sheet([row()], PALETTE, ("x" * 90,) * 3, panel_width=WIDTH)
    panel = np.asarray(narrow)[MARGIN + 30 : MARGIN + 90, -MARGIN - WIDTH : -MARGIN]
    assert (panel == painted(1)).all()


def test_groups_stand_beside_each_other():
    rows = [row("1", group="best"), row("2", group="best"), row("3", group="worst", preds=2)]
    sheet = draw(rows)
    cell = 3 * WIDTH + 2 * GAP
    assert sheet.shape[1] == 2 * cell + 3 * MARGIN
    right_half = sheet[:, 2 * MARGIN + cell :]
    left, top, right, bottom = box_of(right_half, PHOTO, painted(0), painted(2))
    assert (left, right, bottom - top) == (0, cell, 80)
    assert (sheet[:, : MARGIN + cell] != painted(2)).any(-1).all()
    # The second row is there on the left only.
    *_, low = box_of(sheet, PHOTO)
    assert low > bottom + 80
    assert sheet[low - 10, MARGIN + 50].tolist() == list(PHOTO)
    assert (sheet[low - 80 : low, MARGIN + cell + GAP :] == 255).all()


def test_a_high_photo_is_no_higher_than_wide_and_centred():
    sheet = draw([row(size=(30, 60))])
    left, top, right, bottom = box_of(sheet[:, : MARGIN + WIDTH], PHOTO)
    assert (bottom - top, right - left, left) == (WIDTH, 50, MARGIN + 25)


def test_the_legend_has_the_classes_that_occur():
    for preds, shown in ((1, (0, 1)), (0, (0,)), (255, (0,)), (2, (0, 2))):
        sheet = draw([row(preds=preds)])
        legend = sheet[box_of(sheet, PHOTO)[3] + 20 :]
        found = [n for n, colour in enumerate(PALETTE) if (legend == colour).all(-1).any()]
        assert tuple(found) == shown


def test_captions_are_drawn_and_long_names_leave_room_for_the_score():
    def caption(**changes):
        sheet = draw([row(**changes)])
        bottom = box_of(sheet, PHOTO)[3]
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
