"""The segmenter: photos in, label maps out, whatever gives the scores."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Literal, overload

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from recoseg.errors import BadImageError, RecosegError
from recoseg.labels import Colour, Segmentation
from recoseg.photos.load import LoadedPhoto, PhotoInput, check_iterable
from recoseg.photos.refs import Photo
from recoseg.segmentation.batches import in_batches
from recoseg.segmentation.branches import Branch
from recoseg.segmentation.cost import Cost, MemoryGuard
from recoseg.segmentation.each_photo import each_photo
from recoseg.segmentation.input_plan import InputPlan
from recoseg.segmentation.labeller import Labeller
from recoseg.segmentation.result import Result
from recoseg.segmentation.score_grids import score_grids

OnePhoto = PhotoInput | LoadedPhoto
"""A photo in any form; see `PhotoInput`."""

_ONE_PHOTO = (
    *(str, os.PathLike, bytes, Image.Image, np.ndarray, Tensor),
    *(Photo, LoadedPhoto),
)


@dataclass(frozen=True, eq=False)
class Segmenter:
    """Segments photos; made by `bank_segmenter` or `model_segmenter`.

    Attributes:
        branches: What gives the scores.
        labeller: What makes label maps of the scores.
        plan: Size, windows and batches of the encoders' input.
        settings: All that decides the masks apart from the bank or model, as JSON fields.
        identity: What the bank or model is, as JSON fields under the key `bank` or `model`.
        kind: Whether it segments by a concept bank or by a trained model.
        fingerprint: Fingerprint of the bank or model.
        others: Equal segmenters on other devices that share its work; see `in_parallel`.
        share: Photos that each of them gets at a time; 0 where it works alone.
    """

    branches: tuple[Branch, ...]
    labeller: Labeller
    plan: InputPlan
    settings: Mapping[str, Any]
    identity: Mapping[str, Any]
    kind: Literal["bank", "model"]
    fingerprint: str
    others: tuple[Segmenter, ...] = ()
    share: int = 0

    def __post_init__(self) -> None:
        kinds = [branch.kind for branch in self.branches]
        missing = [kind for kind in self.labeller.rule.kinds if kind not in kinds]
        if missing:
            raise RecosegError(
                f"The fusion needs {' and '.join(missing)} scores; got a segmenter with the "
                f"branches {', '.join(branch.name for branch in self.branches) or 'none'}."
            )

    @property
    def names(self) -> tuple[str, ...]:
        """The class of each label."""
        return self.labeller.labelled

    @property
    def palette(self) -> tuple[Colour, ...]:
        """RGB of each class."""
        return self.labeller.colours

    @property
    def cost(self) -> Cost:
        """How much memory its photos need."""
        labeller = self.labeller
        return Cost(
            tuple((one.stride, one.dim) for one in self.branches if one.stride),
            labeller.maps + bool(labeller.background_class),
            self.plan.window,
            self.plan.step,
            self.plan.batch_size,
            labeller.refiner,
            labeller.keep_scores,
            labeller.spreading,
            labeller.voting.form if labeller.voting else None,
            not labeller.specks.is_idle,
            labeller.instances != "parts",
        )

    @overload  # some forms of one photo are iterable, too
    def __call__(self, photos: OnePhoto) -> Result: ...  # type: ignore[overload-overlap]

    @overload
    def __call__(self, photos: Iterable[OnePhoto]) -> list[Result]: ...

    def __call__(self, photos: OnePhoto | Iterable[OnePhoto]) -> Result | list[Result]:
        """Segment one photo, or all photos of an iterable.

        Args:
            photos: One photo in any form (see `PhotoInput`), or an iterable of such.

        Raises:
            BadImageError: A photo cannot be decoded; see `stream` to go on with the others.
        """
        if isinstance(photos, _ONE_PHOTO):
            return self._all([photos])[0]
        check_iterable(photos)
        return self._all(photos)

    def _all(self, photos: Iterable[OnePhoto]) -> list[Result]:
        results = []
        for [result] in _stream([self], photos):
            if result.failure:
                where = f"{result.photo.path}: " if result.photo.path else ""
                raise BadImageError(f"{where}{result.failure}")
            results.append(result)
        return results

    def stream(self, photos: str | os.PathLike[str] | Iterable[OnePhoto]) -> Iterator[Result]:
        """Segment any number of photos in order, a few batches at a time.

        Photos of equal size that follow closely are embedded together. Memory does not
        grow with the number of photos.

        Args:
            photos: A source (a folder, a list of paths, a tar shard, a glob; see `list_sources`),
                or an iterable of sources and photos in any form.

        Yields:
            A result per photo. One that cannot be decoded has its reason in `failure`.

        Raises:
            ArchiveError: A source does not exist.
        """
        given = each_photo(photos)
        if self.share:
            alone = replace(self, others=(), share=0)
            return _deal(given, (alone, *self.others), self.share)
        return (results[0] for results in _stream([self], given))


def stream_together(
    segmenters: Sequence[Segmenter], photos: Iterable[OnePhoto]
) -> Iterator[list[Result]]:
    """Segment each photo with several segmenters, decoding and encoding it once.

    Args:
        segmenters: They may differ in all but input size, windows and batch size. Encoders with
            equal keys run once per photo.
        photos: The photos; see `Segmenter.stream`.

    Yields:
        For each photo the result of each segmenter.

    Raises:
        RecosegError: No segmenter is given, or their input size, windows or batch size differ.
    """
    plans = list(dict.fromkeys(segmenter.plan for segmenter in segmenters))
    if len(plans) != 1:
        raise RecosegError(
            "Expected one or more segmenters with the same input size, window and batch size; got "
            f"{', '.join(map(str, plans)) or 'none'}. Run those that differ one after the other."
        )
    return _stream(segmenters, each_photo(photos))


def in_parallel(segmenters: Sequence[Segmenter], share: int) -> Segmenter:
    """One segmenter that streams over several equal ones, each in a thread of its own.

    While the results of some photos are taken (and written), the next photos are being segmented,
    with a single segmenter too. The order of the photos stays. `stream_together` and calls use the
    first segmenter alone.

    Args:
        segmenters: Equal except for their device.
        share: Photos that each gets at a time; two such shares are held in memory.
    """
    first, *others = segmenters
    return replace(first, others=tuple(others), share=share)


def _stream(segmenters: Sequence[Segmenter], photos: Iterable[OnePhoto]) -> Iterator[list[Result]]:
    def label(
        items: Sequence[LoadedPhoto], pixels: UInt8[Tensor, "n 3 h w"]
    ) -> list[list[Segmentation]]:
        grids = score_grids(pixels, [one.branches for one in segmenters], plan)
        return [one.labeller.label(items, own) for one, own in zip(segmenters, grids, strict=True)]

    plan = segmenters[0].plan
    guard = MemoryGuard([one.cost for one in segmenters])
    return in_batches(photos, plan, label, guard, len(segmenters))


def _deal(
    photos: Iterable[OnePhoto], segmenters: Sequence[Segmenter], share: int
) -> Iterator[Result]:
    """Deal photos out to segmenters in turn; results come in the order of the photos."""
    pending, count = iter(photos), len(segmenters)

    def submit(pool: ThreadPoolExecutor) -> list[Future[list[Result]]]:
        part = list(itertools.islice(pending, share * count))
        shares = [part[start::count] for start in range(min(count, len(part)))]
        return [
            pool.submit(lambda one, own: list(one.stream(own)), segmenter, own)
            for segmenter, own in zip(segmenters, shares, strict=False)
        ]

    with ThreadPoolExecutor(count) as pool:
        working = submit(pool)
        while working:
            shares = [future.result() for future in working]
            working = submit(pool)
            for row in itertools.zip_longest(*shares):
                yield from (result for result in row if result is not None)
