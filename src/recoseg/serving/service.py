"""What a server holds: one model, an index, and the file of the bank, which may change."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames
from recoseg.concepts import ConceptBank
from recoseg.cores import usable_cores
from recoseg.encoders.bundle import Encoders
from recoseg.errors import BadImageError, ConceptError, OptionError
from recoseg.hub.address import is_hub
from recoseg.photos.images import upright_size
from recoseg.pipeline.classes import as_classes
from recoseg.pipeline.forget import forget
from recoseg.pipeline.preview import Preview, preview
from recoseg.pipeline.segment import Segmentable
from recoseg.segmentation.result import Result
from recoseg.serving.batching import Batcher
from recoseg.serving.jobs import Job, Jobs
from recoseg.serving.kept import KeptResults
from recoseg.serving.limits import Limits
from recoseg.serving.metrics import Metrics
from recoseg.serving.opened import Current, open_all
from recoseg.serving.refusals import RefusedError
from recoseg.serving.teaching import Lesson, Taught, teach
from recoseg.serving.turns import Turns
from recoseg.writers.formats import encode_jpeg

_THUMBNAILS = 2048
"""Thumbnails that are kept, about 10 kB each."""


class Service:
    """All that the routes of a server do; may be used by several threads.

    Args:
        bank: The bank or trained model, or its file.
        index: Index to search and to learn from, or its path or URL; None for neither.
        writable: Whether classes may be learnt into the bank's file and removed from it.
        limits: How much the server takes on.
        encoders: Encoders that are loaded already. By default those of the bank and the index.
        device: See `resolve_compute`.
        precision: See `resolve_compute`.
        **options: Options of `open_segmenter`.

    Attributes:
        limits: How much the server takes on.
        file: The file of the bank; None if it has none.
        index: The index; None if there is none.
        writable: Whether the file may be changed.
        device: Where the encoders run.
        metrics: Counts what is done.
        results: The last segmented photos.
        drawing: Is held while an answer is drawn or encoded: as many at a time as there are cores,
            so that their memory has a bound.
        thumbnail: Gives the JPEG of a row of the index at a size; raises `RefusedError` if the
            photo cannot be read.

    Raises:
        ConceptError: There is no such bank.
        ArchiveError: There is no such index.
        EncoderMismatchError: The index was made with another encoder than the bank.
        OptionError: Options do not fit together.
    """

    def __init__(
        self,
        bank: Segmentable,
        index: ArchiveIndex | str | Path | None = None,
        *,
        writable: bool = False,
        limits: Limits | None = None,
        encoders: Encoders | None = None,
        device: str = "auto",
        precision: str = "auto",
        **options: Any,
    ) -> None:
        self.limits = limits or Limits()
        self.file = Path(bank) if isinstance(bank, str | Path) and not is_hub(bank) else None
        self.writable = writable
        if writable and (self.file is None or index is None):
            raise OptionError(
                "--writable lets classes be learnt into the file of a bank. It needs that file, "
                "and the index to learn from: --index INDEX."
            )
        self._opened = open_all(
            bank,
            str(index) if isinstance(index, Path) else index,
            encoders,
            device=device,
            precision=precision,
            **options,
        )
        self.index, self.device = self._opened.index, self._opened.device
        self._current = self._opened.first
        self._turns = Turns()
        self.metrics = Metrics()
        self.results = KeptResults(self.limits)
        self.drawing = threading.BoundedSemaphore(usable_cores())
        self._features = TemporaryDirectory(prefix="recoseg-")
        self._batcher = Batcher(self.limits, self._turns, self.metrics)
        self._jobs = Jobs(self.limits, self.metrics)
        self.thumbnail = lru_cache(maxsize=_THUMBNAILS)(self._thumbnail)

    @property
    def current(self) -> Current:
        """The classes at this moment; a change replaces the whole of it."""
        return self._current

    @property
    def name(self) -> str:
        """The name of the bank's or model's file, without its folder."""
        return self.file.name if self.file is not None else self.current.segmenter.kind

    def segment(self, photo: bytes, job: str | None = None) -> Future[Result]:
        """Segment a photo of a request.

        Args:
            photo: The bytes of its file.
            job: Id of a job that has learnt a class, which is then among the classes.

        Returns:
            The result to come.

        Raises:
            BadImageError: It is not a photo, or has too many pixels.
            RefusedError: Too many photos wait, or the job has no class.
        """
        height, width = upright_size(photo, self.limits.pixels)
        segmenter = self.current.segmenter if job is None else self.taught(job).segmenter
        return self._batcher.submit(segmenter, photo, height * width)

    def taught(self, job: str) -> Taught:
        """What a job has learnt.

        Raises:
            RefusedError: There is no such job, or it has not been done.
        """
        found = self.job(job)
        if found.state != "done":
            raise RefusedError(409, f"The job {job} is {found.state}. Wait until it is done.")
        taught: Taught = found.result
        return taught

    def read_class(self, line: str) -> ClassNames:
        """A class as the user writes it.

        Raises:
            ConceptError: It cannot be read.
        """
        if not line.strip():
            raise ConceptError("The name of the class is empty. Expected a name, such as 'sofa'.")
        [words] = as_classes([line])
        return words

    def retrieve(self, line: str, k: int) -> Preview:
        """The photos of the index that show a class best, and a verdict on them.

        Args:
            line: The class, such as `sofa; couch`.
            k: Number of photos.

        Raises:
            ConceptError: It cannot be read, or the encoder knows none of its words.
            RefusedError: The server has no index.
        """
        index, encoders, bank = self._learning()
        words = self.read_class(line)
        with self._turns:
            return preview(index, words, encoders.retrieval, bank.settings.learn, k)

    def learn(self, line: str, rejected: list[int], keep: bool) -> Job:
        """Let a class be learnt.

        Args:
            line: The class; one of the bank is learnt again in its place.
            rejected: Rows of photos that it must not be learnt from.
            keep: Whether it is written into the bank. If not, it can only be tried on photos.

        Returns:
            The job, whose result is a `Taught`.

        Raises:
            ConceptError: The class cannot be read.
            RefusedError: The server has no index or must not write, or a limit is reached.
        """
        index, encoders, bank = self._learning()
        if keep:
            self._check_writable()
        words = self.read_class(line)
        for row in rejected:
            self.check_row(row)
        others = sum(one.name != words.name for one in bank.classes)
        if others >= self.limits.classes:
            raise RefusedError(
                422,
                f"The bank has {others:,} classes, which is the limit of this server. Remove one "
                "first.",
            )
        lesson = Lesson(words, tuple(rejected), self.file if keep else None)

        def work(job: Job) -> Taught:
            known = self.current.bank
            assert known is not None
            with self._turns:
                bank, photos = teach(
                    lesson, job, index, encoders, known, self._features.name, self._turns
                )
                changed = self._opened.with_bank(bank)
                if keep:
                    self._current = changed
            return Taught(words.name, bank, changed.segmenter, photos, kept=keep)

        return self._jobs.add(work)

    def job(self, name: str) -> Job:
        """A job by its id; see `Jobs.get`."""
        return self._jobs.get(name)

    def forget(self, name: str) -> None:
        """Remove a class from the bank's file.

        Raises:
            ConceptError: It would be the last one.
            OutputError: The file is being written, as while a class is learnt.
            RefusedError: The bank has no such class, or the server must not write.
        """
        self._check_writable()
        bank = self.current.bank
        assert self.file is not None
        assert bank is not None
        if name not in [one.name for one in bank.classes]:
            raise RefusedError(404, f"The bank has no class {name!r}. GET /classes lists them.")
        with self._turns:  # no job replaces what is current meanwhile
            self._current = self._opened.with_bank(forget(self.file, [name]))

    def check_row(self, row: int) -> None:
        """Refuse a row that the index does not have, or that its selection leaves out.

        Raises:
            RefusedError: The index has no such row, or the server has no index.
        """
        count = 0 if self.index is None else len(self.index)
        if self.index is None or not 0 <= row < count:
            raise RefusedError(404, f"The index has no photo {row}. Expected 0 to {count - 1}.")
        if not self.index.is_selected(row):
            raise RefusedError(404, f"The selection of this server leaves out photo {row}.")

    def stop(self) -> None:
        """Refuse what waits and what comes, and cancel jobs; what runs is finished."""
        self._batcher.stop()
        self._jobs.stop()

    def close(self) -> None:
        """Stop, and wait until all has ended."""
        self.stop()
        self._batcher.close()
        self._jobs.close()
        self._features.cleanup()

    def _thumbnail(self, row: int, size: int) -> bytes:
        assert self.index is not None
        try:
            with self.drawing:
                image = self.index.read(row)
                image.thumbnail((size, size))
                return encode_jpeg(image)
        except BadImageError as error:
            raise RefusedError(404, f"Photo {row} of the index cannot be used: {error}.") from error

    def _check_writable(self) -> None:
        if not self.writable:
            raise RefusedError(
                403, "This server does not change the bank. Add --writable to allow changes."
            )

    def _learning(self) -> tuple[ArchiveIndex, Encoders, ConceptBank]:
        bank, encoders = self.current.bank, self._opened.encoders
        if self.index is None or encoders is None or bank is None:
            raise RefusedError(
                409,
                "This server has no index of photos to search and to learn from. Start it with "
                "--index INDEX.",
            )
        return self.index, encoders, bank
