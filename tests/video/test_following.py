"""Identities over key frames: squares that move so far between two that they do not overlap."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from recoseg.errors import OptionError
from recoseg.labels import InstanceMap
from recoseg.photos.refs import Photo
from recoseg.segmentation.result import Result
from recoseg.video.following import Follower, FollowSettings, State
from recoseg.video.sequence import VideoFrame

from .squares import HW, NAMES, SIDE, ColourTracker, corners, picture, segmenter

EVERY = FollowSettings(every=4)
COUNT = 11


@pytest.fixture(scope="module")
def colours():
    return segmenter()


def frames(numbers=range(COUNT), missing=()):
    for number in numbers:
        failed = Photo(f"{number}").failed("damaged")
        image = None if number in missing else Image.fromarray(picture(number))
        photo = failed if number in missing else Photo(f"{number}")
        yield VideoFrame(number, f"{number}", photo, number / 10, image)


def follow(colours, tracker, given=None, settings=EVERY, state=None):
    follower = Follower(
        lambda image: next(colours.stream([image])),
        colours.names,
        colours.palette,
        tracker,
        settings,
        state,
    )
    return list(follower.follow(frames() if given is None else given))


def ids_of_squares(found):
    """The identity in the middle of each square: of the green ones, then of the red one."""
    return [
        [int(one.ids[y + SIDE // 2, x + SIDE // 2]) for y, x in corners(one.frame.number)]
        for one in found
    ]


def test_identities_are_kept(colours):
    tracker = ColourTracker()
    found = follow(colours, tracker)
    assert tracker.begun == [0, 4, 8]
    assert [one.is_key for one in found] == [number % 4 == 0 for number in range(COUNT)]
    first, *others = ids_of_squares(found)
    assert sorted(first) == [1, 2, 3]
    assert others == [first] * (COUNT - 1)
    green, red = NAMES.index("green"), NAMES.index("red")
    for one in found:
        assert one.segmentation.labels.dtype == np.uint8
        expected = np.full(HW, 255)
        for (y, x), label in zip(corners(one.frame.number), (green, green, red), strict=True):
            expected[y : y + SIDE, x : x + SIDE] = label
        # Scores of cells are brought to pixels, which rounds the corners of key frames.
        wrong = [
            (one.segmentation.labels != expected).mean(),
            ((one.ids > 0) != (expected < 255)).mean(),
        ]
        assert max(wrong) <= (0.01 if one.is_key else 0)
        assert one.labels == {first[0]: green, first[1]: green, first[2]: red}


def test_without_tracking_they_would_not_be(colours):
    """Key frames alone: squares that do not overlap are other squares, the red one is the same."""
    given = list(frames(range(0, COUNT, 4)))
    found = follow(colours, None, given, FollowSettings(every=1))
    assert all(one.is_key for one in found)
    per_frame = ids_of_squares(found)
    assert len({one for ids in per_frame for one in ids[:2]}) == 2 * len(per_frame)
    assert len({ids[2] for ids in per_frame}) == 1


def test_without_a_tracker_near_frames_keep_them(colours):
    first, *others = ids_of_squares(follow(colours, None, settings=FollowSettings(every=1)))
    assert others == [first] * (COUNT - 1)


def test_an_instance_that_comes_later_is_new(colours):
    given = list(frames())
    for place in range(4):
        pixels = picture(place)
        pixels[16 : 16 + SIDE, 80 : 80 + SIDE] = (0, 0, 255)  # no red square yet
        given[place] = VideoFrame(place, "", Photo(""), None, Image.fromarray(pixels))
    found = follow(colours, ColourTracker(), given)
    ids = ids_of_squares(found)
    assert {tuple(one[:2]) for one in ids} == {tuple(ids[0][:2])}
    assert [one[2] for one in ids] == [0] * 4 + [3] * 7


def test_instances_that_touch_are_told_apart(colours):
    """A segmenter that tells two green squares apart although they are one connected part."""

    def segment(image):
        result = next(colours.stream([image]))
        strongest = np.asarray(image).argmax(2)
        labels = np.where(strongest == 1, 1, 255).astype(np.uint8)
        numbers = np.where(labels == 1, 1 + (np.arange(HW[0])[:, None] >= 16), 0).astype(np.uint16)
        found = replace(result.segmentation, labels=labels, instances=InstanceMap(numbers))
        return replace(result, segmentation=found)

    pixels = np.zeros((*HW, 3), np.uint8)
    pixels[..., 2] = 255
    pixels[4:28, 20:40] = (0, 255, 0)
    given = [VideoFrame(n, "", Photo(""), None, Image.fromarray(pixels)) for n in range(3)]
    follower = Follower(segment, colours.names, colours.palette, None, FollowSettings(every=1))
    for one in follower.follow(given):
        assert {int(one.ids[y, 30]) for y in range(4, 16)} == {1}
        assert {int(one.ids[y, 30]) for y in range(16, 28)} == {2}


def test_frames_that_cannot_be_read(colours):
    found = follow(colours, ColourTracker(), frames(missing=(4, 6)))
    assert [one.frame.photo.failure for one in found if one.segmentation is None] == ["damaged"] * 2
    rest = [one for one in found if one.segmentation is not None]
    assert [one.frame.number for one in rest if one.is_key] == [0, 5, 9]
    first, *others = ids_of_squares(rest)
    assert others == [first] * 8


def test_key_frames_that_cannot_be_segmented(colours):
    calls = []

    def refuse_second(image):
        calls.append(image)
        if len(calls) == 2:
            return Result(Photo("").failed("too large"))
        return next(colours.stream([image]))

    tracker = ColourTracker()
    follower = Follower(refuse_second, colours.names, colours.palette, tracker, EVERY)
    found = list(follower.follow(frames()))
    assert found[4].frame.photo.failure == "too large"
    assert [one.frame.number for one in found if one.is_key] == [0, 5, 9]


def test_another_size_begins_anew(colours):
    given = list(frames(range(3)))
    wide = np.pad(picture(3), ((0, 0), (0, 8), (0, 0)), mode="edge")
    given.append(VideoFrame(3, "", Photo(""), None, Image.fromarray(wide)))
    found = follow(colours, ColourTracker(), given)
    assert found[3].is_key
    assert found[3].ids.shape == (48, 104)
    assert set(found[3].labels).isdisjoint(found[2].labels)


def test_going_on_equals_one_run(colours):
    whole = follow(colours, ColourTracker())
    at = whole[4]
    state = State(4, at.ids, dict(at.labels), 3)
    rest = follow(colours, ColourTracker(), state=state)
    assert [one.frame.number for one in rest] == list(range(5, COUNT))
    for one, other in zip(rest, whole[5:], strict=True):
        assert (one.ids == other.ids).all()
        assert (one.segmentation.labels == other.segmentation.labels).all()
        assert (one.is_key, one.labels) == (other.is_key, other.labels)


@pytest.mark.parametrize(
    "wrong", [{"every": 0}, {"least_iou": 1.5}, {"least_part": -0.1}, {"most_parts": 0}]
)
def test_settings_out_of_range(wrong):
    with pytest.raises(OptionError, match=f"{next(iter(wrong))} is .*; expected"):
        FollowSettings(**wrong)
