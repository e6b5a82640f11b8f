import numpy as np
import pytest
from PIL import Image

from recoseg.errors import BadImageError, RecosegError, UnknownNameError
from recoseg.evaluation.protocols import PROTOCOLS, Protocol, protocol_of

PAPER = protocol_of("paper", "folder")
COLOURS = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)


def pattern(height, width, block=1):
    """A label map of random blocks, (h, w) uint8."""
    shape = (-(-height // block), -(-width // block))
    labels = np.random.default_rng(height).integers(0, len(COLOURS), shape).astype(np.uint8)
    return labels.repeat(block, 0).repeat(block, 1)[:height, :width]


def nearest(length, goal):
    """Which pixels of an axis are taken when it is scaled to another length."""
    return np.floor((np.arange(goal) + 0.5) * length / goal).astype(int)


@pytest.mark.parametrize(("height", "width"), [(427, 641), (777, 413), (91, 57)])
def test_labels_are_those_of_the_nearest_pixels_of_the_central_square(height, width):
    labels = pattern(height, width)
    short = min(height, width)
    goal = [320 if side == short else int(320 * side / short) for side in (height, width)]
    scaled = labels[nearest(height, goal[0])[:, None], nearest(width, goal[1])]
    top, left = (round((side - 320) / 2) for side in goal)
    found = PAPER.prepare_labels(labels)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, scaled[top : top + 320, left : left + 320])


@pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)
@pytest.mark.parametrize(("height", "width"), [(427, 641), (91, 57)])
def test_photo_and_truth_stay_aligned(protocol, height, width):
    labels = pattern(height, width, block=29)
    photo = protocol.prepare_photo(Image.fromarray(COLOURS[labels]))
    target = protocol.prepare_labels(labels)
    assert target.shape == (photo.height, photo.width)
    seen = np.asarray(photo).argmax(-1)
    offsets = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1)]
    inner = seen[1:-1, 1:-1]
    agreement = {
        (y, x): (np.roll(target, (y, x), (0, 1))[1:-1, 1:-1] == inner).mean() for y, x in offsets
    }
    assert max(agreement, key=agreement.get) == (0, 0)
    assert agreement[0, 0] > 0.98


def test_published_photos_are_resized_by_the_nearest_pixel_too():
    labels = pattern(427, 641, block=5)
    image = Image.fromarray(COLOURS[labels])
    quirks = protocol_of("paper", "folder", published_quirks=True)
    expected = COLOURS[PAPER.prepare_labels(labels)]
    np.testing.assert_array_equal(np.asarray(quirks.prepare_photo(image)), expected)
    smooth = np.asarray(PAPER.prepare_photo(image))
    assert smooth.shape == expected.shape
    assert 0.1 < (smooth != expected).any(-1).mean() < 0.9, "bicubic pixels are mixed at edges"
    np.testing.assert_array_equal(quirks.prepare_labels(labels), PAPER.prepare_labels(labels))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_crop_larger_than_the_photo_scales_it_up_and_mixes_no_labels(dtype):
    protocol = Protocol("squares", "", crop=64, nearest=True)
    labels = pattern(23, 41)
    wide = labels.astype(dtype) * (250 if dtype == np.uint16 else 1)
    found = protocol.prepare_labels(wide)
    assert found.dtype == dtype
    assert found.shape == (64, 64)
    assert set(np.unique(found)) == set(np.unique(wide))
    photo = np.asarray(protocol.prepare_photo(Image.fromarray(COLOURS[labels])))
    np.testing.assert_array_equal(photo, COLOURS[protocol.prepare_labels(labels)])


@pytest.mark.parametrize(
    ("name", "data", "resize", "window"),
    [
        ("paper", "kitti_step19", 0, None),
        ("native", "voc20", None, None),
        ("tcl", "voc20", 336, 224),
        ("tcl", "cityscapes19", 560, 224),
        ("tcl", "cityscapes27", 560, 224),
        ("proxyclip", "voc21", 336, 336),
        ("proxyclip", "ade150", 448, 336),
        ("proxyclip", "cityscapes19", 448, 224),
    ],
)
def test_protocols_that_leave_photos_whole(name, data, resize, window):
    protocol = protocol_of(name, data)
    image, labels = Image.new("RGB", (124, 37)), pattern(37, 124)
    assert protocol.prepare_photo(image) is image
    np.testing.assert_array_equal(protocol.prepare_labels(labels), labels)
    options = protocol.segmenter_options
    assert (options["resize"], options["window"]) == (resize, window)
    assert options["window_step"] == (None if window is None else 112)


def test_the_input_of_the_community_fits_within_two_sides():
    tcl, native = protocol_of("tcl", "voc20"), protocol_of("native", "voc20")
    image = Image.fromarray(COLOURS[pattern(375, 4000)])
    assert tcl.scale_input(image, 336).size == (2048, 192)
    assert tcl.scale_input(image.crop((0, 0, 500, 375)), 336).size == (448, 336)
    assert native.scale_input(image, 336).size == (3584, 336)
    assert tcl.scale_input(image, 0) is image
    assert tcl.to_json()["longest"] == 2048
    assert "longest" not in native.to_json()


def test_the_input_size_can_be_chosen():
    changed = protocol_of("paper", "voc20", resize=448)
    assert changed.segmenter_options["resize"] == 448
    assert (changed.short_side, changed.crop) == (320, 320)
    assert protocol_of("tcl", "voc20", resize=0).segmenter_options["resize"] == 0


def test_errors():
    with pytest.raises(UnknownNameError, match=r"'best'\. Valid: paper, tcl, proxyclip, native"):
        protocol_of("best", "voc20")
    with pytest.raises(RecosegError, match="Only the protocol 'paper' has published quirks"):
        protocol_of("native", "voc20", published_quirks=True)
    with pytest.raises(RecosegError, match="resize is -1; expected 0 to"):
        protocol_of("native", "voc20", resize=-1)
    with pytest.raises(BadImageError, match="too long and thin: 9000 x 1 pixels"):
        PAPER.prepare_photo(Image.new("RGB", (9000, 1)))
