"""Photos in order through whatever labels them, a few batches at a time."""

from __future__ import annotations

import itertools
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import overload

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from recoseg.errors import BadImageError
from recoseg.labels import Segmentation
from recoseg.photos.inputs import Photo, Ready, equal_sizes, prepare
from recoseg.segmentation.input_plan import InputPlan


@dataclass(frozen=True)
class Outcome:
    """What became of one photo.

    Attributes:
        photo: The photo as it was given.
        image: The decoded photo, upright RGB; None where it could not be decoded.
        segmentation: Its segmentation; None where it could not be made.
        error: The reason where it could not.
    """

    photo: Photo
    image: Image.Image | None = None
    segmentation: Segmentation | None = None
    error: str | None = None


class StreamSegmenter(ABC):
    """Segments photos one by one or in a stream."""

    @overload  # a str is also a Sequence; it is taken as one photo
    def __call__(self, photos: Photo) -> Segmentation: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, photos: Sequence[Photo]) -> list[Segmentation]: ...

    def __call__(self, photos: Photo | Sequence[Photo]) -> Segmentation | list[Segmentation]:
        """Segment one photo, or a list of them.

        Raises:
            BadImageError: A photo cannot be decoded; see `stream` to go on with the others.
        """
        if isinstance(photos, (str, Path, Image.Image, np.ndarray)):
            return self([photos])[0]
        results = []
        for outcome in self.stream(photos):
            if outcome.segmentation is None:
                where = f"{outcome.photo}: " if isinstance(outcome.photo, (str, Path)) else ""
                raise BadImageError(f"{where}{outcome.error}")
            results.append(outcome.segmentation)
        return results

    @abstractmethod
    def stream(self, photos: Iterable[Photo]) -> Iterator[Outcome]:
        """Segment photos in order, a few batches at a time.

        Photos of equal size that stand near each other go together; one that cannot be decoded
        becomes an outcome with its reason.
        """


Label = Callable[[Sequence[Ready], UInt8[Tensor, "n 3 h w"]], list[list[Segmentation]]]
"""Labels photos of equal size: one list of segmentations for each of several segmenters."""


def in_batches(
    photos: Iterable[Photo], plan: InputPlan, label: Label, segmenters: int = 1
) -> Iterator[list[Outcome]]:
    """Decode photos, put those of equal size together, and label them.

    All cores decode, then all of them have the encoders. Decoding beside the encoders would be
    slower: products wait for the core that decodes (`lite` on two cores: by 40 %).

    Args:
        photos: The photos.
        plan: Their size and the batches.
        label: What labels them.
        segmenters: How many segmentations it gives for each photo.

    Yields:
        For each photo, in order, the outcomes.
    """
    pending = iter(photos)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while chunk := list(itertools.islice(pending, 2 * plan.batch_size)):
            prepared = list(pool.map(partial(_prepare, short_side=plan.short_side), chunk))
            yield from _label_chunk(chunk, prepared, plan, label, segmenters)


def _prepare(photo: Photo, short_side: int) -> Ready | str:
    """A photo's input, or the reason why there is none."""
    try:
        return prepare(photo, short_side)
    except BadImageError as error:
        return str(error)


def _label_chunk(
    chunk: Sequence[Photo],
    prepared: Sequence[Ready | str],
    plan: InputPlan,
    label: Label,
    segmenters: int,
) -> Iterator[list[Outcome]]:
    ready = {index: item for index, item in enumerate(prepared) if isinstance(item, Ready)}
    outcomes = {
        index: [Outcome(chunk[index], error=item) for _ in range(segmenters)]
        for index, item in enumerate(prepared)
        if isinstance(item, str)
    }
    for group in equal_sizes({index: item.pixels for index, item in ready.items()}):
        for start in range(0, len(group), plan.batch_size):
            part = group[start : start + plan.batch_size]
            items = [ready[index] for index in part]
            found = label(items, torch.stack([item.pixels for item in items]))
            for place, index in enumerate(part):
                image = ready[index].image
                outcomes[index] = [Outcome(chunk[index], image, own[place]) for own in found]
    for index in range(len(chunk)):
        yield outcomes.pop(index)
