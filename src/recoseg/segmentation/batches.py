"""Photos in order through whatever labels them, a few batches at a time."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from jaxtyping import UInt8
from torch import Tensor

from recoseg.labels import Segmentation
from recoseg.photos.load import LoadedPhoto, PhotoInput, load_whole
from recoseg.photos.refs import Photo
from recoseg.segmentation.input_plan import InputPlan
from recoseg.segmentation.result import Result

Label = Callable[[Sequence[LoadedPhoto], UInt8[Tensor, "n 3 h w"]], list[list[Segmentation]]]
"""Labels photos of equal size: one list of segmentations for each of several segmenters."""


def in_batches(
    photos: Iterable[PhotoInput | LoadedPhoto], plan: InputPlan, label: Label, segmenters: int = 1
) -> Iterator[list[Result]]:
    """Decode photos, put those of equal size together, and label them.

    All cores decode, then all of them run the encoders. Decoding while the encoders run would be
    slower, since their products wait for the core that decodes (`lite` on two cores: by 40 %).

    Args:
        photos: The photos; those that are loaded already have to fit the plan's short side.
        plan: Input size and batch size.
        label: Labels a batch.
        segmenters: Number of segmentations that `label` gives for each photo.

    Yields:
        For each photo, in order, the results; photos that cannot be decoded have their reason.
    """
    pending = iter(photos)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        while chunk := list(itertools.islice(pending, 2 * plan.batch_size)):
            loaded = list(pool.map(partial(_load, short_side=plan.short_side), chunk))
            yield from _label_chunk(loaded, plan, label, segmenters)


def _load(given: PhotoInput | LoadedPhoto, short_side: int) -> LoadedPhoto | Photo:
    return given if isinstance(given, LoadedPhoto) else load_whole(given, short_side)


def _label_chunk(
    loaded: Sequence[LoadedPhoto | Photo], plan: InputPlan, label: Label, segmenters: int
) -> Iterator[list[Result]]:
    usable = {index: item for index, item in enumerate(loaded) if isinstance(item, LoadedPhoto)}
    results = {
        index: [Result(item)] * segmenters
        for index, item in enumerate(loaded)
        if isinstance(item, Photo)
    }
    for group in equal_sizes({index: item.pixels for index, item in usable.items()}):
        for start in range(0, len(group), plan.batch_size):
            part = group[start : start + plan.batch_size]
            items = [usable[index] for index in part]
            found = label(items, torch.stack([item.pixels for item in items]))
            for place, (index, item) in enumerate(zip(part, items, strict=True)):
                results[index] = [Result(item.photo, item.image, own[place]) for own in found]
    for index in range(len(loaded)):
        yield results.pop(index)


def equal_sizes(images: dict[int, Tensor]) -> list[list[int]]:
    """The keys of images of equal size together, in the order in which sizes first appear."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, pixels in images.items():
        groups.setdefault(tuple(pixels.shape), []).append(index)
    return list(groups.values())
