"""Several segmenters side by side, one per device, and writing while they work."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from recoseg.labels import Colour
from recoseg.photos.inputs import Photo
from recoseg.segmentation.batches import Outcome
from recoseg.segmentation.to_folder import PhotoSegmenter


class ParallelSegmenter:
    """Deals photos out to equal segmenters, each in a thread of its own.

    While the outcomes of one lot are taken (and written), the next one is worked on, with a single
    segmenter too. The order of the photos stays. Two lots are held at a time.

    Args:
        segmenters: Equal but for their device.
        each: Photos that each gets per lot.
    """

    def __init__(self, segmenters: Sequence[PhotoSegmenter], each: int) -> None:
        self._segmenters = segmenters
        self._each = each

    @property
    def names(self) -> tuple[str, ...]:
        """The class of each label."""
        return self._segmenters[0].names

    @property
    def palette(self) -> tuple[Colour, ...]:
        """RGB of each class."""
        return self._segmenters[0].palette

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the masks; how many segmenters there are does not."""
        return self._segmenters[0].settings

    def stream(self, photos: Iterable[Photo]) -> Iterator[Outcome]:
        """Segment photos in order."""
        pending, count = iter(photos), len(self._segmenters)

        def deal(pool: ThreadPoolExecutor) -> list[Future[list[Outcome]]]:
            lot = list(itertools.islice(pending, self._each * count))
            shares = [lot[start::count] for start in range(min(count, len(lot)))]
            return [
                pool.submit(_work, segmenter, share)
                for segmenter, share in zip(self._segmenters, shares, strict=False)
            ]

        with ThreadPoolExecutor(count) as pool:
            working = deal(pool)
            while working:
                shares = [future.result() for future in working]
                working = deal(pool)
                for round_ in itertools.zip_longest(*shares):
                    yield from (outcome for outcome in round_ if outcome is not None)


def _work(segmenter: PhotoSegmenter, photos: Sequence[Photo]) -> list[Outcome]:
    return list(segmenter.stream(photos))
