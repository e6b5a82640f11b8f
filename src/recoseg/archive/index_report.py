"""What a run of indexing did."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg.photos.refs import Photo


@dataclass(frozen=True)
class IndexReport:
    """What a run did.

    Attributes:
        photos: Embedded photos in the index now.
        unusable: Photos in the index's failures now.
        new: Photos that the index did not know, usable or not.
        changed: Photos that were read again because they had changed, usable or not.
        skipped: Photos that were as the index knew them.
        failed: Photos of this run that could not be used.
        removed: Rows dropped since their photos are missing (only with `prune`).
        missing: Indexed photos of these sources that are no longer there.
        failures: The photos of this run that could not be used, with their reasons.
        undone: Why shards could not be finished: their workers died repeatedly. Another run tries
            again.
        seconds: Duration of the run.
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
    seconds: float
