"""From key frames to all frames: what a segmenter finds is followed, and keeps its identity."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Int32
from PIL import Image

from recoseg.errors import OptionError
from recoseg.labels import Colour, Segmentation, ignore_index, label_dtype
from recoseg.segmentation.result import Result
from recoseg.video.matching import (
    LEAST_IOU,
    Instances,
    instances_in,
    overlaps,
    same_instances,
)
from recoseg.video.sequence import VideoFrame
from recoseg.video.tracker import Tracker, parts_of

MOST_IDS = 65_535
"""Most identities of a sequence, which are saved in 16 bits; instances after that have none."""


@dataclass(frozen=True)
class FollowSettings:
    """How instances are found and followed.

    Attributes:
        every: Every so many frames one is segmented: a key frame. The frames between are tracked.
        least_iou: An instance of a key frame that overlaps one of the same class that was followed
            up to there by at least this (IoU) is the same.
        least_part: Instances of a smaller share of the frame are not followed.
        most_parts: So many instances of a key frame are followed, the largest ones. The time of the
            tracker grows with their number.

    Raises:
        OptionError: A number is out of range.
    """

    every: int = 15
    least_iou: float = LEAST_IOU
    least_part: float = 0.001
    most_parts: int = 32

    def __post_init__(self) -> None:
        if not 1 <= self.every <= 10_000:
            raise OptionError(f"every is {self.every} (--key-every); expected 1 to 10,000 frames.")
        if not 1 <= self.most_parts <= 1000:
            raise OptionError(f"most_parts is {self.most_parts}; expected 1 to 1,000.")
        for name in ("least_iou", "least_part"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is {getattr(self, name)}; expected 0 to 1.")


@dataclass(frozen=True)
class State:
    """What is known at a key frame, from which the frames after it follow.

    Attributes:
        frame: The number of the key frame.
        ids: The identity of each pixel's instance; 0 where there is none.
        labels: The class of each identity in the frame.
        highest: The highest identity that was given so far.
    """

    frame: int
    ids: Int32[np.ndarray, "h w"]
    labels: dict[int, int]
    highest: int


@dataclass(frozen=True, eq=False)
class Followed:
    """A frame with its masks.

    Attributes:
        frame: The frame; with a failure if it has no masks.
        segmentation: The class of each pixel; None if there is none.
        ids: The identity of each pixel's instance, from 1; 0 where there is none.
        labels: The class of each identity in the frame.
        is_key: Whether the frame was segmented, and not tracked.
    """

    frame: VideoFrame
    segmentation: Segmentation | None = None
    ids: Int32[np.ndarray, "h w"] | None = None
    labels: Mapping[int, int] = field(default_factory=dict)
    is_key: bool = False


Segment = Callable[[Image.Image], Result]
"""Segments a frame; the result has a failure if that is not possible."""


class Follower:
    """Follows the instances of one sequence.

    Key frames are segmented. Their label maps are kept as they are. What is followed are their
    instances, where the segmenter finds such, and the connected parts of classes elsewhere, until
    the next key frame and into it. There, what was followed tells which identity each new instance
    has. Between key frames a pixel has the class of
    the instance that the tracker is most certain of, or background.

    Args:
        segment: Segments a key frame.
        names: The class of each label.
        palette: RGB of each class.
        tracker: Follows instances; None to segment every frame, and to take an instance that
            overlaps one of the frame before for the same.
        settings: How they are followed.
        state: Where an earlier run has stopped; None to begin.
    """

    def __init__(
        self,
        segment: Segment,
        names: tuple[str, ...],
        palette: tuple[Colour, ...],
        tracker: Tracker | None,
        settings: FollowSettings,
        state: State | None = None,
    ) -> None:
        self._segment, self._tracker, self._settings = segment, tracker, settings
        self._names, self._palette = names, palette
        self._state = state
        self._highest = 0 if state is None else state.highest
        self._labels = {} if state is None else state.labels
        self._order: list[int] = []
        self._ids = np.zeros((0, 0), np.int32) if state is None else state.ids
        self._next_key = 0

    def follow(self, frames: Iterable[VideoFrame]) -> Iterator[Followed]:
        """The masks of the frames, in their order; a state's frame and those before are left out.

        A frame that cannot be read is passed over; if it would have been a key frame, the next one
        is.
        """
        for frame in frames:
            if self._state is not None and frame.number <= self._state.frame:
                if frame.number == self._state.frame and frame.image is not None:
                    self._go_on(frame)
                continue
            if frame.image is None:
                yield Followed(frame)
                continue
            yield self._frame(frame, frame.image)

    def _go_on(self, frame: VideoFrame) -> None:
        """Follow the instances of a key frame that an earlier run has segmented."""
        assert frame.image is not None
        self._next_key = frame.number + self._settings.every
        if self._tracker is not None:
            self._tracker.see(frame.image)
        self._begin(self._ids, self._labels)

    def _frame(self, frame: VideoFrame, image: Image.Image) -> Followed:
        size = (image.height, image.width)
        is_same = self._ids.shape == size
        if self._tracker is None:
            return self._key_frame(frame, image, self._ids if is_same else np.zeros(size, np.int32))
        self._tracker.see(image)
        followed = np.zeros(size, np.int32)
        if is_same:
            order = np.array([0, *self._order], np.int32)
            followed = order[parts_of(self._tracker.masks(), size)]
        if not is_same or frame.number >= self._next_key:
            return self._key_frame(frame, image, followed)
        self._ids = followed
        return self._tracked(frame, followed)

    def _key_frame(
        self, frame: VideoFrame, image: Image.Image, followed: Int32[np.ndarray, "h w"]
    ) -> Followed:
        """Segment a frame, and give its instances their identities."""
        result = self._segment(image)
        if result.segmentation is None:
            failed = replace(frame, photo=frame.photo.failed(result.failure))
            return Followed(failed)
        found = result.segmentation
        own = self._settings
        known = None if found.instances is None else found.instances.numbers
        limits = (own.least_part, own.most_parts)
        instances = instances_in(found.labels, found.ignore_index, *limits, known)
        ids = self._identities(instances, followed)
        self._next_key = frame.number + own.every
        self._begin(ids, {int(i): self._labels[int(i)] for i in np.unique(ids) if i})
        return Followed(frame, found, ids, self._labels, True)

    def _identities(
        self, found: Instances, followed: Int32[np.ndarray, "h w"]
    ) -> Int32[np.ndarray, "h w"]:
        """The identities of the instances of a key frame; their classes are noted."""
        known, numbers = np.unique(followed, return_inverse=True)
        before = [int(one) for one in known if one]
        if len(before) == len(known):  # no pixel is without an instance
            numbers = numbers + 1
        numbers = numbers.reshape(followed.shape)
        iou = overlaps(numbers, found.parts, len(before), len(found.labels))
        classes = [self._labels[one] for one in before]
        same = same_instances(iou, classes, found.labels, self._settings.least_iou)
        table = np.zeros(len(found.labels) + 1, np.int32)
        for number, label in enumerate(found.labels):
            if number in same:
                table[number + 1] = before[same[number]]
            elif self._highest < MOST_IDS:
                self._highest += 1
                table[number + 1] = self._highest
                self._labels = {**self._labels, self._highest: label}
        return table[found.parts]

    def _begin(self, ids: Int32[np.ndarray, "h w"], labels: dict[int, int]) -> None:
        """Follow these instances from here on, and forget the others."""
        self._ids, self._labels, self._order = ids, labels, sorted(labels)
        if self._tracker is not None:
            numbers = np.zeros(self._highest + 1, np.int32)
            numbers[self._order] = np.arange(1, len(self._order) + 1)
            self._tracker.begin(numbers[ids], len(self._order))

    def _tracked(self, frame: VideoFrame, ids: Int32[np.ndarray, "h w"]) -> Followed:
        """The masks of a frame between key frames."""
        ignored = ignore_index(len(self._names))
        table = np.full(self._highest + 1, ignored, label_dtype(ignored))
        for one, label in self._labels.items():
            table[one] = label
        found = Segmentation(table[ids], self._names, self._palette)
        return Followed(frame, found, ids, self._labels)
