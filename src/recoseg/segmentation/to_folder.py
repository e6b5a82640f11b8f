"""Segment many photos into an output folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from recoseg.photos.refs import Photo
from recoseg.progress import StageProgress
from recoseg.segmentation.result import Result
from recoseg.segmentation.segmenter import Segmenter
from recoseg.writers.folder import OutputFolder
from recoseg.writers.formats import DEFAULT_FORMATS
from recoseg.writers.protocol import Writer


def folder_for(
    segmenter: Segmenter,
    out: str | Path,
    *,
    writers: Sequence[str | Writer] = DEFAULT_FORMATS,
    resume: bool = False,
    overwrite: bool = False,
) -> OutputFolder:
    """The output folder of a segmenter, which records its settings and fingerprint.

    Args:
        segmenter: The segmenter.
        out: Where to write; it is created if it does not exist.
        writers: What to write; see `OutputFolder`.
        resume: Keep the photos that an earlier run with equal settings has finished.
        overwrite: Remove what an earlier run has written.
    """
    return OutputFolder(
        out,
        segmenter.names,
        segmenter.palette,
        writers=writers,
        settings={**segmenter.settings, segmenter.kind: segmenter.fingerprint},
        resume=resume,
        overwrite=overwrite,
    )


def segment_to_folder(
    segmenter: Segmenter,
    photos: Sequence[Photo],
    folder: OutputFolder,
    *,
    callback: Callable[[str, Result], object] | None = None,
    progress: bool | None = False,
) -> dict[str, str]:
    """Segment photos and write their files; photos that the folder has unchanged are skipped.

    Args:
        segmenter: The segmenter.
        photos: The photos, as they were listed; see `list_sources`.
        folder: Where to write; it must have been entered (`with folder:`).
        callback: Called with each photo's output name and result.
        progress: See `StageProgress`.

    Returns:
        The reason for each photo that could not be segmented, by its path.
    """
    todo = folder.missing(_stamped(segmenter, photo) for photo in photos)
    results = segmenter.stream(photo for _, photo in todo)
    failures = {}
    with StageProgress("Segmenting", len(todo), enabled=progress) as bar:
        for (name, photo), result in zip(todo, results, strict=True):
            if result.segmentation is None or result.image is None:
                failures[photo.path] = result.failure
                folder.write_failure(photo.path, result.failure)
            else:
                folder.write(name, photo, result.image, result.segmentation)
            if callback is not None:
                callback(name, result)
            bar.advance(failed=bool(result.failure))
    return failures


def _stamped(segmenter: Segmenter, photo: Photo) -> Photo:
    """The photo with a stamp that also changes when stored regions of it change."""
    regions = segmenter.labeller.stamp(photo)
    return replace(photo, stamp=f"{photo.stamp}; {regions}") if regions else photo
