"""Photos in order through whatever labels them, a few batches at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import torch
from jaxtyping import UInt8
from torch import Tensor

from recoseg.cores import usable_cores
from recoseg.errors import BadImageError
from recoseg.labels import Segmentation
from recoseg.photos.load import LoadedPhoto, PhotoInput, load_whole
from recoseg.photos.refs import Photo
from recoseg.segmentation.cost import OUT_OF_MEMORY, MemoryGuard, is_out_of_memory
from recoseg.segmentation.input_plan import InputPlan
from recoseg.segmentation.result import Result

Label = Callable[[Sequence[LoadedPhoto], UInt8[Tensor, "n 3 h w"]], list[list[Segmentation]]]
"""Labels photos of equal size: one list of segmentations for each of several segmenters."""


def in_batches(
    photos: Iterable[PhotoInput | LoadedPhoto],
    plan: InputPlan,
    label: Label,
    guard: MemoryGuard,
    segmenters: int = 1,
) -> Iterator[list[Result]]:
    """Decode photos, put those of equal size together, and label them.

    All cores decode, then all of them run the encoders. Decoding while the encoders run would be
    slower, since their products wait for the core that decodes (`lite` on two cores: by 40 %).

    Args:
        photos: The photos; those that are loaded already have to fit the plan's short side.
        plan: Input size and batch size.
        label: Labels a batch.
        guard: Refuses photos that need too much memory, and bounds the batches of large ones.
        segmenters: Number of segmentations that `label` gives for each photo.

    Yields:
        For each photo, in order, the results; photos that cannot be segmented have their reason.
    """
    pending = iter(photos)
    load = partial(_load, short_side=plan.short_side, guard=guard)
    with ThreadPoolExecutor(min(8, usable_cores())) as pool:
        while chunk := list(itertools.islice(pending, 2 * plan.batch_size)):
            loaded = list(pool.map(load, chunk))
            yield from _label_chunk(loaded, plan, label, guard, segmenters)


def _load(
    given: PhotoInput | LoadedPhoto, short_side: int, guard: MemoryGuard
) -> LoadedPhoto | Photo:
    if not isinstance(given, LoadedPhoto):
        return load_whole(given, short_side, guard.check)
    try:
        guard.check(*_sizes(given))
    except BadImageError as error:
        return given.photo.failed(str(error))
    return given


def _sizes(item: LoadedPhoto) -> tuple[tuple[int, int], tuple[int, int]]:
    """Width and height of the photo and of the encoders' input."""
    given = (item.pixels.shape[2], item.pixels.shape[1])
    return given if item.image is None else item.image.size, given


def _label_chunk(
    loaded: Sequence[LoadedPhoto | Photo],
    plan: InputPlan,
    label: Label,
    guard: MemoryGuard,
    segmenters: int,
) -> Iterator[list[Result]]:
    usable = {index: item for index, item in enumerate(loaded) if isinstance(item, LoadedPhoto)}
    results = {
        index: [Result(item)] * segmenters
        for index, item in enumerate(loaded)
        if isinstance(item, Photo)
    }
    for group in equal_sizes({index: item.pixels for index, item in usable.items()}):
        fitting = min(guard.count(*_sizes(usable[index])) for index in group)
        size = min(plan.batch_size, fitting)
        for start in range(0, len(group), size):
            part = group[start : start + size]
            found = _label_part([usable[index] for index in part], label, segmenters)
            results |= zip(part, found, strict=True)
    for index in range(len(loaded)):
        yield results.pop(index)


def _label_part(items: Sequence[LoadedPhoto], label: Label, segmenters: int) -> list[list[Result]]:
    """Label photos of equal size; where memory runs out or one of them fails, one by one."""
    try:
        found = label(items, torch.stack([item.pixels for item in items]))
    except BadImageError as error:
        reason, retry = str(error), False
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        reason, retry = OUT_OF_MEMORY, True
    else:
        return [
            [Result(item.photo, item.image, own[place]) for own in found]
            for place, item in enumerate(items)
        ]
    if len(items) == 1:
        return [[Result(items[0].photo.failed(reason, retry=retry))] * segmenters]
    return [result for item in items for result in _label_part([item], label, segmenters)]


def equal_sizes(images: dict[int, Tensor]) -> list[list[int]]:
    """The keys of images of equal size together, in the order in which sizes first appear."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, pixels in images.items():
        groups.setdefault(tuple(pixels.shape), []).append(index)
    return list(groups.values())
