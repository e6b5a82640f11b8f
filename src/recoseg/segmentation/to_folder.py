"""Segment many photos into an output folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from recoseg.photos.refs import Photo
from recoseg.progress import StageProgress
from recoseg.segmentation.raster_to_folder import RasterOptions, raster_to_folder
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
    rasters: RasterOptions | None = None,
) -> OutputFolder:
    """The output folder of a segmenter, which records its settings and fingerprint.

    Args:
        segmenter: The segmenter.
        out: Where to write; it is created if it does not exist.
        writers: What to write; see `OutputFolder`.
        resume: Keep the photos that an earlier run with equal settings has finished.
        overwrite: Remove what an earlier run has written.
        rasters: How rasters are read.
    """
    own = {} if rasters is None else rasters.to_json()
    return OutputFolder(
        out,
        segmenter.names,
        segmenter.palette,
        writers=writers,
        settings={**segmenter.settings, segmenter.kind: segmenter.fingerprint, **own},
        resume=resume,
        overwrite=overwrite,
    )


def segment_to_folder(
    segmenter: Segmenter,
    photos: Sequence[Photo],
    folder: OutputFolder,
    *,
    callback: Callable[[str, Result], object] | None = None,
    rasters: RasterOptions | None = None,
    progress: bool | None = False,
) -> dict[str, str]:
    """Segment photos and write their files; photos that the folder has unchanged are skipped.

    Photos that are too large are segmented by windows, after the others; see
    `recoseg.segmentation.rasters`.

    Args:
        segmenter: The segmenter.
        photos: The photos, as they were listed; see `list_sources`.
        folder: Where to write; it must have been entered (`with folder:`).
        callback: Called with each photo's output name and result, but not for rasters.
        rasters: Which photos are segmented by windows, and how they are read.
        progress: See `StageProgress`.

    Returns:
        The reason for each photo that could not be segmented, by its path.
    """
    listed = folder.missing(_stamped(segmenter, photo) for photo in photos)
    rasters = rasters or RasterOptions()
    large = {name: reason for name, photo in listed if (reason := rasters.reason(photo))}
    todo = [(name, photo) for name, photo in listed if name not in large]
    results = segmenter.stream(photo for _, photo in todo)
    failures = {}
    with StageProgress("Segmenting", len(todo), enabled=progress if todo else False) as bar:
        for (name, photo), result in zip(todo, results, strict=True):
            if result.segmentation is None or result.image is None:
                failures[photo.path] = result.failure
                folder.write_failure(photo.path, result.failure)
            else:
                folder.write(name, photo, result.image, result.segmentation)
            if callback is not None:
                callback(name, result)
            bar.advance(failed=bool(result.failure))
    for name, photo in listed:
        if name in large:
            failure = raster_to_folder(
                segmenter, photo, name, folder, rasters, large[name], progress
            )
            if failure:
                failures[photo.path] = failure
                folder.write_failure(photo.path, failure)
    return failures


def _stamped(segmenter: Segmenter, photo: Photo) -> Photo:
    """The photo with a stamp that also changes when stored regions of it change."""
    regions = segmenter.labeller.stamp(photo)
    return replace(photo, stamp=f"{photo.stamp}; {regions}") if regions else photo
