"""The report of an indexing run."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg.photos.refs import Photo


@dataclass(frozen=True)
class IndexReport:
    """What an indexing run did.

    Attributes:
        photos: Number of photos in the index that have an embedding, after the run.
        unusable: Number of photos in the index that cannot be used, after the run.
        new: Number of photos that were embedded and were not in the index before.
        changed: Number of photos that were embedded again because they had changed.
        skipped: Number of photos with an embedding that had not changed.
        failed: Number of photos of the sources that cannot be used, whether this run has tried
            them or an earlier one.
        removed: Number of photos that were removed because they are missing or excluded (only with
            `prune`).
        missing: Paths of indexed photos that are no longer in the sources.
        failures: The photos of this run that could not be used, each with its reason, and what
            cannot be listed, such as a folder that may not be read.
        undone: Shards that could not be finished because their workers died repeatedly, each with
            the reason. The next run tries them again.
        empty: Sources that list no photo although others do, such as a disk that is not mounted.
            Their indexed photos are kept, also with `prune`.
        seconds: Duration of the run, seconds.
        excluded: Number of indexed photos that are excluded now; they are kept without `prune`.
        moved: Number of photos that were found under a new path (only with `relink`).
        doubled: Number of photos that were removed because their file is gone and the
            index holds the same content under another path (only with `relink`).
        unfound: Paths of indexed photos that were looked for under new paths and not found (only
            with `relink`). Those of an archive of which half was found count as missing.
        again: Paths of photos of this run whose content the index also holds under paths that the
            sources do not list, as where an archive has moved.
    """

    photos: int
    unusable: int
    new: int
    changed: int
    skipped: int
    failed: int
    removed: int
    missing: tuple[str, ...]
    failures: tuple[Photo, ...]
    undone: tuple[str, ...]
    empty: tuple[str, ...]
    seconds: float
    excluded: int = 0
    moved: int = 0
    doubled: int = 0
    unfound: tuple[str, ...] = ()
    again: tuple[str, ...] = ()
