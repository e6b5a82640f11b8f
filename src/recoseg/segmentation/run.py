"""Segment many photos into an output folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recoseg.progress import StageProgress
from recoseg.segmentation.outputs import OutputFolder, output_names
from recoseg.segmentation.segmenter import Outcome, Segmenter


def segment_photos(
    segmenter: Segmenter,
    paths: Sequence[str],
    folder: OutputFolder,
    *,
    observe: Callable[[str, Outcome], object] | None = None,
    progress: bool | None = False,
) -> dict[str, str]:
    """Segment photos and write their files; those that the folder has already are passed over.

    Args:
        segmenter: The segmenter.
        paths: Local paths, URLs or `shard.tar::member`.
        folder: Where to write, entered.
        observe: Called with each photo's output name and outcome.
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
                folder.write(names[path], path, outcome.image, outcome.segmentation)
            if observe is not None:
                observe(names[path], outcome)
            bar.advance(failed=outcome.segmentation is None)
    return failures
