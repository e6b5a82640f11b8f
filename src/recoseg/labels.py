"""Label maps: the ignore index, colours, and a label map with the names of its labels."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, UInt, UInt16
from PIL import Image

from recoseg.errors import MissingExtraError, RecosegError, UnknownNameError

Colour = tuple[int, int, int]
"""RGB, 0 to 255."""

IGNORE_INDEX = 255
"""The label of background or undecided pixels in label maps of up to 255 classes."""

WIDE_IGNORE_INDEX = 65535
"""The same in label maps of more classes, which are 16-bit."""

BACKGROUND = "background"
"""The name of the class that background has where it is a class to train on."""

_STRIP = 1 << 20  # pixels that are counted at a time


def ignore_index(classes: int) -> int:
    """The label of background: 255, or 65535 where 255 is a class."""
    if classes > WIDE_IGNORE_INDEX:
        raise RecosegError(f"Expected at most {WIDE_IGNORE_INDEX} classes; got {classes}.")
    return IGNORE_INDEX if classes <= IGNORE_INDEX else WIDE_IGNORE_INDEX


def label_dtype(ignored: int) -> type[np.uint8] | type[np.uint16]:
    """The type of label maps whose background has this label."""
    return np.uint8 if ignored == IGNORE_INDEX else np.uint16


def nearest_labels(
    labels: UInt[np.ndarray, "h w"], size: tuple[int, int]
) -> UInt[np.ndarray, "rows columns"]:
    """A label map at another size: each pixel takes the label that is nearest to its centre.

    Args:
        labels: The label map.
        size: Rows and columns of the result.

    Example:
        >>> nearest_labels(np.array([[1, 2, 3, 4]], np.uint8), (1, 2)).tolist()
        [[2, 4]]
    """
    rows, columns = (
        (np.arange(new) * 2 + 1) * old // (2 * new)
        for new, old in zip(size, labels.shape, strict=True)
    )
    return labels[rows[:, None], columns]


@dataclass(frozen=True, eq=False)
class Probabilities:
    """Probabilities of classes at every so many pixels of a photo.

    Attributes:
        values: The probability of each class, 0 to 1, at the pixels (step * i, step * j).
        step: Pixels from one to the next, 1 or more.
    """

    values: Float[np.ndarray, "c rows columns"]
    step: int


@dataclass(frozen=True, eq=False)
class InstanceMap:
    """The single things in a label map.

    Attributes:
        numbers: The instance that each pixel belongs to, from 1 without gaps; 0 where none is
            known. All pixels of an instance have the same label.
        scores: How sure its finder is of each instance, 0 to 1; empty where that is not known.
    """

    numbers: UInt16[np.ndarray, "h w"]
    scores: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Segmentation:
    """A label map with the names of its labels.

    Attributes:
        labels: One label per pixel, at the photo's own size. uint8 with 255 for background, or,
            for more than 255 classes, uint16 with 65535 for background.
        names: The class of each label.
        palette: RGB of each class.
        scores: Fused scores of each class before refinement, fp16; None unless they were kept.
        probabilities: Probabilities of each class before refinement at some pixels, for
            `confidence`; None in label maps that no segmenter has made.
        instances: The single things in it; None where only its connected parts are known.
    """

    labels: UInt[np.ndarray, "h w"]
    names: tuple[str, ...]
    palette: tuple[Colour, ...]
    scores: Float[np.ndarray, "c h w"] | None = None
    probabilities: Probabilities | None = None
    instances: InstanceMap | None = None

    @property
    def ignore_index(self) -> int:
        """The label of background: 255, or 65535 for more than 255 classes."""
        return ignore_index(len(self.names))

    def mask(self, name: str) -> Bool[np.ndarray, "h w"]:
        """The pixels of one class; all False where the class is absent.

        Raises:
            UnknownNameError: There is no such class; the message lists the classes.

        Example:
            >>> found = Segmentation(np.array([[0, 1, 255]], np.uint8), ("a", "b"), ())
            >>> found.mask("b").tolist()
            [[False, True, False]]
        """
        if name not in self.names:
            raise UnknownNameError("class", name, list(self.names))
        return self.labels == self.names.index(name)

    def masks(self) -> dict[str, Bool[np.ndarray, "h w"]]:
        """The mask of each class that is present, the largest class first."""
        return {name: self.mask(name) for name in self.areas()}

    def areas(self) -> dict[str, float]:
        """The fraction of the photo that each present class covers, the largest class first.

        Background counts as part of the photo, so the fractions may add up to less than 1.
        """
        counts = np.zeros(len(self.names), np.int64)
        for rows in self._strips():
            counts += np.bincount(rows.ravel(), minlength=len(self.names))[: len(self.names)]
        order = sorted(range(len(self.names)), key=lambda index: (-int(counts[index]), index))
        return {
            self.names[index]: float(counts[index] / self.labels.size)
            for index in order
            if counts[index]
        }

    def confidence(self, names: Iterable[str] | None = None) -> dict[str, float]:
        """How sure the segmenter is of each present class, 0 to 1, the largest class first.

        It is the mean, over the pixels that have the class in the end, of the class's probability
        before refinement: the softmax over all classes of the fused scores, divided by the
        temperature of refinement. Of a large photo about 16,000 evenly spaced pixels count. It
        compares masks of one bank or model; it says nothing of how often masks are right.

        Args:
            names: The classes that are present, if they are known.

        Returns:
            The confidence of each; empty without `probabilities`.

        Example:
            >>> values = np.array([[[0.9, 0.5]], [[0.1, 0.5]]], np.float16)
            >>> labels = np.array([[0, 0, 1, 0]], np.uint8)
            >>> found = Segmentation(labels, ("a", "b"), (), None, Probabilities(values, 2))
            >>> found.confidence()
            {'a': 0.89990234375, 'b': 0.5}
        """
        if self.probabilities is None:
            return {}
        values, step = self.probabilities.values, self.probabilities.step
        classes = len(self.names)
        labels = self.labels[::step, ::step].ravel()
        [where] = np.nonzero(labels < classes)
        own = values.reshape(len(values), -1)[labels[where], where]
        counts = np.bincount(labels[where], minlength=classes)
        sums = np.bincount(labels[where], own, classes)
        found = {}
        for name in self.areas() if names is None else names:
            index = self.names.index(name)
            if counts[index]:
                found[name] = float(sums[index] / counts[index])
            else:  # too small for the step: what is known nearby
                rows, columns = np.nonzero(self.labels == index)
                nearby = values[index, rows // step, columns // step]
                found[name] = float(nearby.mean(dtype=np.float64))
        return found

    @property
    def background(self) -> float:
        """The fraction of the photo that is background."""
        found = sum(int((rows == self.ignore_index).sum()) for rows in self._strips())
        return found / self.labels.size

    def _strips(self) -> Iterator[UInt[np.ndarray, "rows w"]]:
        """The labels in parts of whole rows; what is counted in 64 bits needs little memory so."""
        step = max(1, _STRIP // max(1, self.labels.shape[1]))
        for start in range(0, self.labels.shape[0], step):
            yield self.labels[start : start + step]

    def to_transformers(self) -> list[dict[str, Any]]:
        """The masks in the form of the `image-segmentation` pipeline of transformers.

        Returns:
            For each class that is present, largest first: `label`, `score` (its `confidence`, or
            else the mean fused score over its pixels if scores were kept, or else None) and `mask`
            (a PIL image of mode `L`, 255 on the class and 0 elsewhere).
        """
        found: list[dict[str, Any]] = []
        masks = self.masks()
        for (name, mask), score in zip(masks.items(), self._scores_of(masks), strict=True):
            image = Image.fromarray(mask.astype(np.uint8) * np.uint8(255))
            found.append({"label": name, "score": score, "mask": image})
        return found

    def to_supervision(self) -> Any:
        """The masks as `supervision.Detections`: one detection for each class that is present.

        Where single things are known (`instances`), each is a detection instead, and so are the
        pixels of each class that belong to none.

        Returns:
            The detections, single things first, then classes from the largest on: `mask` (n, h, w),
            `xyxy` (the box around each mask; right and bottom are those of its last pixels, as in
            supervision), `class_id` (the label), `data["class_name"]`, and `confidence` (the score
            of an instance, or that of the class in `to_transformers`; None if one has none).

        Raises:
            MissingExtraError: supervision is not installed.
        """
        try:
            import supervision
        except ImportError as error:
            raise MissingExtraError("supervision", "supervision", "to_supervision()") from error
        found = [*self._instances(), *self._classes_without_instances()]
        masks = np.zeros((len(found), *self.labels.shape), bool)
        for place, (_, mask, _) in enumerate(found):
            masks[place] = mask
        names = [name for name, _, _ in found]
        scores = [score for _, _, score in found]
        is_sure = None not in scores and (scores or self.scores is not None or self.probabilities)
        return supervision.Detections(
            xyxy=supervision.mask_to_xyxy(masks).astype(np.float32).reshape(-1, 4),
            mask=masks,
            class_id=np.array([self.names.index(name) for name in names], int),
            confidence=np.array(scores, np.float32) if is_sure else None,
            data={"class_name": np.array(names, str)},
        )

    def _instances(self) -> Iterator[tuple[str, Bool[np.ndarray, "h w"], float | None]]:
        """The class, the mask and the score of each instance."""
        if self.instances is None:
            return
        numbers, scores = self.instances.numbers, self.instances.scores
        for number in range(1, int(numbers.max(initial=0)) + 1):
            mask = (numbers == number) & (self.labels != self.ignore_index)
            if mask.any():
                label = int(self.labels[mask][0])
                yield self.names[label], mask, scores[number - 1] if scores else None

    def _classes_without_instances(
        self,
    ) -> Iterator[tuple[str, Bool[np.ndarray, "h w"], float | None]]:
        """The same of the pixels of each class that belong to no instance."""
        masks = self.masks()
        for (name, mask), score in zip(masks.items(), self._scores_of(masks), strict=True):
            own = mask if self.instances is None else mask & (self.instances.numbers == 0)
            if own.any():
                yield name, own, score

    def to_fiftyone(self) -> Any:
        """The label map as `fiftyone.Segmentation`.

        Returns:
            Its `mask` has the label plus 1 for each class, since 0 is FiftyOne's background. The
            names go into the data set: `dataset.default_mask_targets = dict(enumerate(names, 1))`.

        Raises:
            MissingExtraError: fiftyone is not installed.
        """
        try:
            import fiftyone
        except ImportError as error:
            raise MissingExtraError("fiftyone", "fiftyone", "to_fiftyone()") from error
        # Background has the highest number of the type, so that it becomes 0.
        return fiftyone.Segmentation(mask=self.labels + self.labels.dtype.type(1))

    def _scores_of(self, masks: Mapping[str, Bool[np.ndarray, "h w"]]) -> list[float | None]:
        """The confidence of each class, or else its mean fused score, or else None."""
        found = self.confidence(masks)
        if found or self.scores is None:
            return [found.get(name) for name in masks]
        rows = [self.scores[self.names.index(name)][mask] for name, mask in masks.items()]
        return [float(row.mean(dtype=np.float64)) for row in rows]
