"""Photos of requests that come at the same time, segmented together by one thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from recoseg.segmentation.result import Result
from recoseg.segmentation.segmenter import Segmenter
from recoseg.serving.limits import Limits
from recoseg.serving.metrics import Metrics
from recoseg.serving.refusals import STOPPING, RefusedError
from recoseg.serving.turns import Turns

_GATHER_SECONDS = 0.005
"""How long the first photo waits for others: little beside the time that one photo takes."""


@dataclass(eq=False)
class _Waiting:
    """A photo that waits.

    Attributes:
        segmenter: The segmenter that it waits for.
        photo: The bytes of its file.
        pixels: Number of its pixels.
        result: What will be known of it.
    """

    segmenter: Segmenter
    photo: bytes
    pixels: int
    result: Future[Result] = field(default_factory=Future)


class Batcher:
    """Segments photos in the order in which they come, several at a time.

    All photos of a batch are for one segmenter. Together they have no more pixels than a single
    photo may have, so that a batch needs no more memory than the largest photo.

    Args:
        limits: How many photos may wait, and how many are segmented together.
        turns: Is held while a segmenter works.
        metrics: Counts photos and batches.
    """

    def __init__(self, limits: Limits, turns: Turns, metrics: Metrics) -> None:
        self._limits = limits
        self._turns = turns
        self._metrics = metrics
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="segmenting", daemon=True)
        self._thread.start()
        metrics.watch("recoseg_photos_waiting", "Photos that wait.", lambda: len(self._waiting))

    def submit(self, segmenter: Segmenter, photo: bytes, pixels: int) -> Future[Result]:
        """Let a photo wait for a segmenter.

        Args:
            segmenter: The segmenter.
            photo: The bytes of its file.
            pixels: Number of its pixels.

        Returns:
            The result to come. A photo that cannot be decoded has its reason in it.

        Raises:
            RefusedError: Too many photos wait, or the server is being stopped.
        """
        one = _Waiting(segmenter, photo, pixels)
        with self._changed:
            if self._stopping:
                raise RefusedError(503, STOPPING)
            if len(self._waiting) >= self._limits.waiting:
                raise RefusedError(
                    429,
                    f"{len(self._waiting)} photos are waiting already, which is the limit of this "
                    "server. Ask again in a moment.",
                )
            self._waiting.append(one)
            self._changed.notify_all()
        return one.result

    def stop(self) -> None:
        """Refuse photos that wait and those that come; what is being segmented is finished."""
        with self._changed:
            self._stopping = True
            left = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for one in left:
            if one.result.set_running_or_notify_cancel():
                one.result.set_exception(RefusedError(503, STOPPING))

    def close(self) -> None:
        """Stop, and wait until the thread has ended."""
        self.stop()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._take():
            self._segment(batch)

    def _take(self) -> list[_Waiting]:
        """The next batch, as soon as there is one; empty when all has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            full = self._limits.batch
            self._changed.wait_for(
                lambda: len(self._waiting) >= full or self._stopping, _GATHER_SECONDS
            )
            batch: list[_Waiting] = []
            left: deque[_Waiting] = deque()
            pixels = 0
            for one in self._waiting:
                fits = len(batch) < full and pixels + one.pixels <= self._limits.pixels
                if not batch or (fits and one.segmenter is batch[0].segmenter):
                    batch.append(one)
                    pixels += one.pixels
                else:
                    left.append(one)
            self._waiting = left
            return batch

    def _segment(self, batch: Sequence[_Waiting]) -> None:
        wanted = [one for one in batch if one.result.set_running_or_notify_cancel()]
        if not wanted:
            return
        try:
            with self._turns:
                results = self._results(wanted)
        except BaseException as error:  # whoever waits has to hear of it
            results = [error for _ in wanted]
        self._metrics.batch(len(wanted))
        for one, result in zip(wanted, results, strict=True):
            if isinstance(result, BaseException):
                one.result.set_exception(result)
            else:
                one.result.set_result(result)

    def _results(self, batch: Sequence[_Waiting]) -> list[Result | BaseException]:
        """The result of each photo; where one of them breaks the batch, the others do not."""
        try:
            return list(batch[0].segmenter.stream([one.photo for one in batch]))
        except Exception as error:
            if len(batch) == 1:
                return [error]
        return [found for one in batch for found in self._results([one])]
