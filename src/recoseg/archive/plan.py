"""The plan of an indexing run: the differences between the sources and the index."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow.parquet as pq

from recoseg.archive.layout import Shard, read_failures, shard_files
from recoseg.photos.refs import Photo
from recoseg.photos.sources import PhotoSource


@dataclass(frozen=True)
class ShardJob:
    """A shard to write.

    Attributes:
        source: Name of the source of its photos.
        entries: Its photos in order. Each is a photo to embed, or the row of the replaced shard
            from which an unchanged photo is copied.
        failures: Photos of the replaced shard that cannot be used and have not changed.
        replaces: Number of the replaced shard; None for a shard of new photos.
    """

    source: str
    entries: tuple[Photo | int, ...]
    failures: tuple[Photo, ...] = ()
    replaces: int | None = None

    @property
    def to_embed(self) -> list[Photo]:
        """The photos that must be embedded."""
        return [entry for entry in self.entries if isinstance(entry, Photo)]


@dataclass
class IndexPlan:
    """The shards to write in a run, and how its photos compare with the index.

    Attributes:
        jobs: The shards to write; shards that are rewritten come first.
        new: Number of photos that are not in the index yet.
        changed: Number of photos whose stamp differs from the recorded one.
        skipped: Number of photos that have not changed.
        missing: Paths of indexed photos that are no longer in the sources.
    """

    jobs: list[ShardJob] = field(default_factory=list)
    new: int = 0
    changed: int = 0
    skipped: int = 0
    missing: list[str] = field(default_factory=list)


def make_plan(
    root: Path,
    shards: Sequence[Shard],
    sources: Sequence[PhotoSource],
    shard_size: int,
    prune: bool,
) -> IndexPlan:
    """Compare the sources with the finished shards.

    Args:
        root: Folder of the index.
        shards: Its finished shards.
        sources: The sources with their photos.
        shard_size: Maximum number of photos of a new shard.
        prune: Whether to remove missing photos; otherwise they are kept.
    """
    plan = IndexPlan()
    present = {photo.path: photo for source in sources for photo in source.photos}
    names = {source.name for source in sources}
    known: set[str] = set()
    for shard in shards:
        job = _review(root, shard, present, shard.source in names, prune, plan, known)
        if job:
            plan.jobs.append(job)
    for source in sources:
        new = [photo for photo in source.photos if photo.path not in known]
        plan.new += len(new)
        plan.jobs += [
            ShardJob(source.name, tuple(new[first : first + shard_size]))
            for first in range(0, len(new), shard_size)
        ]
    return plan


def _review(
    root: Path,
    shard: Shard,
    present: dict[str, Photo],
    listed: bool,
    prune: bool,
    plan: IndexPlan,
    known: set[str],
) -> ShardJob | None:
    """Compare a shard's photos with the sources; return a job if it must be rewritten."""
    entries: list[Photo | int] = []
    touched = False
    for row, (path, stamp) in enumerate(_paths_and_stamps(root, shard)):
        known.add(path)
        photo = present.get(path)
        if photo and photo.stamp == stamp:
            plan.skipped += 1
            entries.append(row)
        elif photo and photo.stamp:
            plan.changed += 1
            touched = True
            entries.append(photo)
        else:  # not listed, or listed by name but not accessible
            gone = listed or photo is not None
            if gone:
                plan.missing.append(path)
            if gone and prune:
                touched = True
            else:
                entries.append(row)
    failures = []
    for failure in read_failures(root, shard):
        known.add(failure.path)
        photo = present.get(failure.path)
        if photo and photo.stamp != failure.stamp:
            plan.changed += 1
            touched = True
            entries.append(photo)
        elif photo is None and listed and prune:
            touched = True
        else:
            plan.skipped += photo is not None
            failures.append(failure)
    if not touched:
        return None
    return ShardJob(shard.source, tuple(entries), tuple(failures), shard.number)


def _paths_and_stamps(root: Path, shard: Shard) -> list[tuple[str, str]]:
    if not shard.photos:
        return []
    table = pq.read_table(shard_files(root, shard.number)[1], columns=["image_path", "stamp"])
    return [(str(row["image_path"]), str(row["stamp"])) for row in table.to_pylist()]
