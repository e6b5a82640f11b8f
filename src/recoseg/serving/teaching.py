"""Learning one class in a job, so that it can be cancelled and photos be segmented meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames
from recoseg.concepts import Concept, ConceptBank
from recoseg.encoders.bundle import Encoders
from recoseg.learning.corrections import NO_SEED, pixel_of
from recoseg.learning.one_class import LearnedClass
from recoseg.pipeline.learn import learn
from recoseg.pipeline.relearn import REASON
from recoseg.progress import watched
from recoseg.segmentation.segmenter import Segmenter
from recoseg.serving.jobs import Job
from recoseg.serving.turns import Turns

_FEATURES = 0.9
"""The share of the first stage, which encodes the photos, in the time that a class takes."""

_CACHE_GIGABYTES = 2.0
"""Features that are kept while the server runs: a class that is learnt again needs few new ones."""


@dataclass(frozen=True)
class Lesson:
    """A class to learn.

    Attributes:
        words: The class.
        rejected: Rows of photos that it must not be learnt from.
        file: The bank's file to write it into; None to write nothing.
    """

    words: ClassNames
    rejected: tuple[int, ...]
    file: Path | None


@dataclass(frozen=True)
class TaughtPhoto:
    """A photo that a class was learnt from.

    Attributes:
        row: Its row in the index.
        path: Its path.
        score: Cosine of the photo with the class.
        seed: Its best seed as shares (x, y) of the upright photo; None if it has none, or its size
            is not known.
    """

    row: int
    path: str
    score: float
    seed: tuple[float, float] | None


@dataclass(frozen=True)
class Taught:
    """A class that has been learnt.

    Attributes:
        name: Its name.
        bank: The bank with it.
        segmenter: Segments photos into the classes of that bank.
        photos: The photos that it was learnt from, best first.
        kept: Whether the bank's file has it.
    """

    name: str
    bank: ConceptBank
    segmenter: Segmenter
    photos: tuple[TaughtPhoto, ...]
    kept: bool

    @property
    def label(self) -> int:
        """Its label in label maps of its segmenter."""
        return self.segmenter.names.index(self.name)

    @property
    def concept(self) -> Concept:
        """The class in the bank."""
        return self.bank.classes[self.label]


def teach(
    lesson: Lesson,
    job: Job,
    index: ArchiveIndex,
    encoders: Encoders,
    bank: ConceptBank,
    cache: str,
    turns: Turns,
) -> tuple[ConceptBank, tuple[TaughtPhoto, ...]]:
    """Learn a class; one of the bank is learnt again in its place.

    Args:
        lesson: The class.
        job: Is told of each step, and may end the work there.
        index: The archive.
        encoders: The encoders.
        bank: The bank to add to, where no file is written.
        cache: Folder for features of photos.
        turns: The caller has the turn; others get it between steps.

    Returns:
        The bank with the class, and its photos.

    Raises:
        CancelledError: The job has been cancelled; nothing was written.
        ConceptError: None of the photos can be read.
        OutputError: Another process writes the file.
    """
    found: list[LearnedClass] = []
    former = bank if lesson.file is None else ConceptBank.load(lesson.file)
    known = lesson.words.name in [one.name for one in former.classes]
    archive = index.without({index.photo_id(row): REASON for row in lesson.rejected})
    with watched(_steps(job, turns)):
        bank = learn(
            archive,
            [lesson.words],
            out=lesson.file,
            add_to=bank if lesson.file is None else lesson.file,
            relearn=known,
            encoders=encoders,
            cache=cache,
            cache_gigabytes=_CACHE_GIGABYTES,
            callback=found.append,
        )
    learnt = [one for one in found if one.concept.role == "class"]
    photos = [photo for one in learnt for photo in _photos(index, one)]
    return bank, tuple(photos)


def _steps(job: Job, turns: Turns) -> Callable[[str, int, int | None], None]:
    """What is called between the steps of learning."""
    stages: list[str] = []

    def step(stage: str, done: int, total: int | None) -> None:
        if stage not in stages:
            stages.append(stage)
        share = done / total if total else 0.0
        first = len(stages) == 1
        progress = share * _FEATURES if first else _FEATURES + share * (1 - _FEATURES)
        job.step(progress, f"{stage}, {done:,} of {total:,}" if total else stage)
        turns.give_way()

    return step


def _photos(index: ArchiveIndex, learnt: LearnedClass) -> list[TaughtPhoto]:
    cosegmentation = learnt.cosegmentation
    grid = (cosegmentation.support.shape[1], cosegmentation.support.shape[2])
    photos = []
    for row, seeds, retrieved in zip(
        learnt.positions, cosegmentation.seeds.tolist(), learnt.concept.retrieved, strict=True
    ):
        photo = index.photo(row)
        size = (photo.width, photo.height)
        seed = None
        if seeds and seeds[0][0] != NO_SEED and all(size):
            x, y = pixel_of((seeds[0][0], seeds[0][1]), size, grid)
            seed = ((x + 0.5) / size[0], (y + 0.5) / size[1])
        photos.append(TaughtPhoto(row, photo.path, retrieved.score, seed))
    return photos
