"""The plan of an indexing run: the differences between the sources and the index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from recoseg.archive.layout import Shard, read_failures, read_photos
from recoseg.archive.relink import Moves
from recoseg.photos.exclusion import Exclusion, relative_path
from recoseg.photos.refs import Photo, is_image_name, split_member
from recoseg.photos.sources import PhotoSource


@dataclass(frozen=True)
class Moved:
    """A photo that has moved, whose embedding is copied.

    Attributes:
        row: Its row of the replaced shard.
        to: The photo as it is listed under its new path.
    """

    row: int
    to: Photo

    def moved(self, recorded: Photo) -> Photo:
        """The photo as it was recorded, with its new path."""
        to = self.to
        return replace(recorded, path=to.path, stamp=to.stamp, offset=to.offset)


@dataclass(frozen=True)
class ShardJob:
    """A shard to write.

    Attributes:
        source: Name of the source of its photos.
        entries: Its photos in order. Each is a photo to embed, or the row of the replaced shard
            from which an unchanged photo, or one that has moved, is copied.
        failures: Photos of the replaced shard that cannot be used and have not changed.
        replaces: Number of the replaced shard; None for a shard of new photos.
    """

    source: str
    entries: tuple[Photo | int | Moved, ...]
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
        skipped: Number of photos with an embedding that have not changed.
        unusable: Paths of photos that cannot be used and have not changed.
        missing: Paths of indexed photos that are no longer in the sources.
        empty: Names of sources that list no photo, although others do and they have indexed ones.
        excluded: Number of indexed photos that are excluded now.
        moved: Number of photos that get a new path.
        doubled: Number of photos that are left out since the index holds them under another path.
        unlisted: Beginnings of the hashes of indexed photos that are not listed, (n,) uint64.
    """

    jobs: list[ShardJob] = field(default_factory=list)
    skipped: int = 0
    unusable: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    excluded: int = 0
    moved: int = 0
    doubled: int = 0
    unlisted: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint64))

    def known_elsewhere(self, photos: Sequence[Photo]) -> list[Photo]:
        """Which photos have the content of indexed ones that are not listed."""
        starts = hash_starts([photo.hash for photo in photos])
        same = np.isin(starts, self.unlisted)
        return [photo for photo, known in zip(photos, same, strict=True) if known and photo.hash]


def hash_starts(hashes: Sequence[str]) -> np.ndarray:
    """The first 64 bits of hashes, (n,) uint64; 0 for empty ones."""
    return np.array([int(digest[:16] or "0", 16) for digest in hashes], np.uint64)


class _Listing:
    """What the sources list, and whether a photo that they do not list is really gone."""

    def __init__(self, sources: Sequence[PhotoSource], exclude: Exclusion) -> None:
        self._exclude = exclude
        self._bases = {source.name: source.base for source in sources}
        self.photos = {photo.path: photo for source in sources for photo in source.photos}
        self._names = {source.name for source in sources if source.photos}
        self.empty = {source.name for source in sources} - self._names
        # A folder or shard that could not be listed to its end is itself listed, as a failure.
        self._unlisted = {photo.path for photo in self.photos.values() if photo.failure}

    def is_gone(self, path: str, source: str) -> bool:
        """Whether a photo that is not listed is gone from its source, which lists others.

        A source without any photo may be a disk that is not mounted, and a photo may lie in a
        folder or a shard that could not be listed.
        """
        return all(name in self._names for name in source.split("\n")) and not any(
            place in self._unlisted for place in places_of(path)
        )

    def is_excluded(self, path: str, source: str) -> bool:
        """Whether an indexed photo is left out of its source, which is given."""
        bases = [self._bases[name] for name in source.split("\n") if name in self._bases]
        return any(self._exclude.leaves_out(relative_path(path, base)) for base in bases)

    def is_listed_now(self, place: str) -> bool:
        """Whether photos are listed in a folder or shard that could not be listed before."""
        return not is_image_name(place) and any(
            path.startswith((f"{place}/", f"{place}::")) for path in self.photos
        )


def places_of(path: str) -> Iterator[str]:
    """The folders and the tar shard in which a photo lies.

    Example:
        >>> list(places_of("/a/b.tar::c/d.png"))
        ['/a/b.tar::c', '/a/b.tar', '/a', '/']
    """
    outer, mark, _ = split_member(path)
    scheme, sign, _ = path.partition("://")
    shortest = len(scheme + sign) if sign else 0
    end = path.rfind("/")
    while end > shortest:
        if mark and end < len(outer):
            yield outer
            mark = ""
        yield path[:end]
        end = path.rfind("/", 0, end)
    if mark:
        yield outer
    if path.startswith("/"):
        yield "/"


def make_plan(
    root: Path,
    shards: Sequence[Shard],
    sources: Sequence[PhotoSource],
    shard_size: int,
    prune: bool,
    exclude: Exclusion | None = None,
    moves: Moves | None = None,
) -> IndexPlan:
    """Compare the sources with the finished shards.

    Photos are missing only if their source lists other photos, and if their folder or tar shard
    could be listed.

    Args:
        root: Folder of the index.
        shards: Its finished shards.
        sources: The sources with their photos.
        shard_size: Maximum number of photos of a new shard.
        prune: Whether to remove missing photos; otherwise they are kept.
        exclude: What the sources do not list although it may be there.
        moves: Which photos have moved; None if that was not looked for.

    Raises:
        ArchiveError: A table of the index is damaged.
    """
    plan = IndexPlan()
    listing = _Listing(sources, exclude or Exclusion())
    moves = moves or Moves()
    known = {photo.path for photo in moves.found.values()}
    unlisted: list[np.ndarray] = []
    for shard in shards:
        job = _review(root, shard, listing, prune, moves, plan, known, unlisted)
        if job:
            plan.jobs.append(job)
    # The others show, until they are written, that a source has moved.
    plan.jobs.sort(key=lambda job: any(isinstance(entry, Moved) for entry in job.entries))
    plan.unlisted = np.unique(np.concatenate([plan.unlisted, *unlisted]))
    plan.empty = sorted(listing.empty & {shard.source for shard in shards})
    for source in sources:
        new = [photo for photo in source.photos if photo.path not in known]
        plan.jobs += [
            ShardJob(source.name, tuple(new[first : first + shard_size]))
            for first in range(0, len(new), shard_size)
        ]
    return plan


def _review(
    root: Path,
    shard: Shard,
    listing: _Listing,
    prune: bool,
    moves: Moves,
    plan: IndexPlan,
    known: set[str],
    unlisted: list[np.ndarray],
) -> ShardJob | None:
    """Compare a shard's photos with the sources; return a job if it must be rewritten."""
    entries: list[Photo | int | Moved] = []
    hashes: list[str] = []
    source = moves.sources.get(shard.source, shard.source)
    touched = source != shard.source
    for row, recorded in enumerate(read_photos(root, shard)):
        path, stamp = recorded.path, recorded.stamp
        known.add(path)
        photo = listing.photos.get(path)
        if photo is None and path in moves.found:
            plan.moved += 1
            touched = True
            entries.append(Moved(row, moves.found[path]))
        elif photo is None and path in moves.doubled:
            plan.doubled += 1
            touched = True
        elif photo and photo.stamp == stamp:
            plan.skipped += 1
            entries.append(row)
        elif photo and photo.stamp:
            touched = True
            entries.append(photo)
        else:  # not listed, or listed by name but not accessible
            excluded = photo is None and listing.is_excluded(path, shard.source)
            gone = photo is not None or moves.is_gone(path)
            gone = not excluded and (gone or listing.is_gone(path, shard.source))
            plan.excluded += excluded
            if gone:
                plan.missing.append(path)
            if prune and (gone or excluded):
                touched = True
            else:
                hashes += [recorded.hash] if recorded.hash else []
                entries.append(row)
    unlisted.append(hash_starts(hashes))
    failures = []
    for failure in read_failures(root, shard):
        known.add(failure.path)
        photo = listing.photos.get(failure.path)
        if photo and photo.stamp != failure.stamp:
            touched = True
            entries.append(photo)
        elif photo is None and (
            (prune and listing.is_gone(failure.path, shard.source))
            or (prune and listing.is_excluded(failure.path, shard.source))
            or listing.is_listed_now(failure.path)
            or failure.path in moves.retried
        ):
            touched = True
        else:
            plan.unusable += [failure.path] if photo is not None else []
            failures.append(failure)
    if not touched:
        return None
    return ShardJob(source, tuple(entries), tuple(failures), shard.number)
