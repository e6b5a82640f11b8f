"""Segment many photos into an output folder."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

from recoseg.labels import Colour, Segmentation
from recoseg.photos.inputs import Photo
from recoseg.progress import StageProgress
from recoseg.segmentation.batches import Outcome
from recoseg.writers.folder import Extra, OutputFolder
from recoseg.writers.names import output_names


class PhotoSegmenter(Protocol):
    """Whatever makes label maps of photos: a `Segmenter`, or a model trained on its masks."""

    @property
    def names(self) -> tuple[str, ...]:
        """The class of each label."""

    @property
    def palette(self) -> tuple[Colour, ...]:
        """RGB of each class."""

    @property
    def settings(self) -> dict[str, Any]:
        """What decides the masks beside the bank or the model, as JSON fields."""

    def stream(self, photos: Iterable[Photo]) -> Iterator[Outcome]:
        """Segment photos in order."""


def segment_photos(
    segmenter: PhotoSegmenter,
    paths: Sequence[str],
    folder: OutputFolder,
    *,
    observe: Callable[[str, Outcome], object] | None = None,
    extra: Callable[[Segmentation], Extra] | None = None,
    progress: bool | None = False,
) -> dict[str, str]:
    """Segment photos and write their files; those that the folder has already are passed over.

    Args:
        segmenter: The segmenter.
        paths: Local paths, URLs or `shard.tar::member`.
        folder: Where to write, entered.
        observe: Called with each photo's output name and outcome.
        extra: Gives further files of a photo to write.
        progress: See `StageProgress`.

    Returns:
        The reason for each photo that could not be segmented.
    """
    names = dict(zip(paths, output_names(paths), strict=True))
    todo = [path for path in names if path not in folder]
    failures = {}
    with StageProgress("Segmenting", len(todo), enabled=progress) as bar:
        for path, outcome in zip(todo, segmenter.stream(todo), strict=True):
            if outcome.segmentation is None or outcome.image is None:
                failures[path] = outcome.error or "unknown"
                folder.write_failure(path, failures[path])
            else:
                more = extra(outcome.segmentation) if extra is not None else None
                folder.write(names[path], path, outcome.image, outcome.segmentation, more)
            if observe is not None:
                observe(names[path], outcome)
            bar.advance(failed=outcome.segmentation is None)
    return failures
