"""Writing pseudo-labels of photos, to train a model on (`recoseg pseudo-label`)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from recoseg.pipeline.checks import Paths, check_output_folder, list_photos
from recoseg.pipeline.segment import Segmentable, open_segmenter
from recoseg.progress import resumable, telling_what_is_kept
from recoseg.segmentation.segmenter import Segmenter, in_parallel
from recoseg.storage.locks import lock_folder
from recoseg.training.confidence import Ignoring
from recoseg.training.pseudo_labels import PseudoLabels, check_free
from recoseg.training.pseudo_labels import pseudo_label as write_pseudo_labels


def pseudo_label(
    source: Segmenter | Segmentable,
    photos: Paths,
    out: str | Path,
    *,
    min_confidence: float | None = None,
    quantile: float | None = None,
    confidence: bool = False,
    ignore_background: bool = False,
    overlays: bool = False,
    resume: bool = False,
    overwrite: bool = False,
    exclude: str | Sequence[str] = (),
    devices: Sequence[str] = ("auto",),
    batch_size: int = 8,
    progress: bool | None = False,
    **options: Any,
) -> PseudoLabels:
    """Segment photos and keep the label maps as a training set (paper, section 3.4).

    Args:
        source: A segmenter, or a source that `open_segmenter` accepts.
        photos: Files, folders, lists, tar shards or globs; see `list_sources`.
        out: Folder to write to; see `recoseg.training.pseudo_labels`.
        min_confidence: Pixels with a lower confidence, 0 to 1, are ignored; None ignores no pixels.
        quantile: Fraction of the pixels of each class that is ignored at most, starting with the
            least confident; None ignores no pixels.
        confidence: Whether to write confidence maps even if no pixel is ignored.
        ignore_background: Whether background is ignored in training. Otherwise, where there is a
            threshold or there are classes that become background, it is a class `background`.
        overlays: Whether to write overlays of the segmenter's label maps.
        resume: Whether to continue an interrupted run in `out` with the same settings.
        overwrite: Whether to remove what an earlier run has written to `out`.
        exclude: Patterns of photos and folders that are left out; see `Exclusion`.
        devices: Devices that are used in parallel, such as `("cuda:0", "cuda:1")`.
        batch_size: Photos of equal size that are encoded together.
        progress: See `StageProgress`.
        **options: Further options of `open_segmenter`, used unless `source` is a segmenter.

    Raises:
        ArchiveError: A source of photos does not exist.
        OutputError: `out` holds an earlier run, which is neither continued nor replaced, or another
            process is writing to it; or it is a source of photos.
        RecosegError: There are no photos, `out` cannot be written to, a setting is out of range, or
            a class is called `background` and does not become background.
    """
    ignoring = Ignoring(min_confidence, quantile)
    folder = check_output_folder(out)
    with lock_folder(folder), telling_what_is_kept(partial(resumable, folder)):
        check_free(folder, resume=resume, overwrite=overwrite)
        listed = list_photos(photos, folder, exclude)
        if not isinstance(source, Segmenter):
            options.setdefault("instances", "parts")
            keep = confidence or not ignoring.idle
            segmenters = [
                open_segmenter(
                    source, keep_scores=keep, batch_size=batch_size, device=device, **options
                )
                for device in devices
            ]
            source = in_parallel(segmenters, batch_size)
        return write_pseudo_labels(
            source,
            listed,
            folder,
            ignoring=ignoring,
            confidence=confidence,
            ignore_background=ignore_background,
            overlays=overlays,
            resume=resume,
            overwrite=overwrite,
            progress=progress,
        )
