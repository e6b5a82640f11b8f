"""The plan of an indexing run: the differences between the sources and the index."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recoseg.archive.layout import Shard, read_failures, shard_files
from recoseg.archive.tables import METADATA, read_table
from recoseg.photos.refs import Photo, is_image_name, split_member
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
        empty: Names of sources that list no photo, although others do and they have indexed ones.
    """

    jobs: list[ShardJob] = field(default_factory=list)
    new: int = 0
    changed: int = 0
    skipped: int = 0
    missing: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)


class _Listing:
    """What the sources list, and whether a photo that they do not list is really gone."""

    def __init__(self, sources: Sequence[PhotoSource]) -> None:
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
        return source in self._names and not any(
            place in self._unlisted for place in places_of(path)
        )

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

    Raises:
        ArchiveError: A table of the index is damaged.
    """
    plan = IndexPlan()
    listing = _Listing(sources)
    known: set[str] = set()
    for shard in shards:
        job = _review(root, shard, listing, prune, plan, known)
        if job:
            plan.jobs.append(job)
    plan.empty = sorted(listing.empty & {shard.source for shard in shards})
    for source in sources:
        new = [photo for photo in source.photos if photo.path not in known]
        plan.new += len(new)
        plan.jobs += [
            ShardJob(source.name, tuple(new[first : first + shard_size]))
            for first in range(0, len(new), shard_size)
        ]
    return plan


def _review(
    root: Path, shard: Shard, listing: _Listing, prune: bool, plan: IndexPlan, known: set[str]
) -> ShardJob | None:
    """Compare a shard's photos with the sources; return a job if it must be rewritten."""
    entries: list[Photo | int] = []
    touched = False
    for row, (path, stamp) in enumerate(_paths_and_stamps(root, shard)):
        known.add(path)
        photo = listing.photos.get(path)
        if photo and photo.stamp == stamp:
            plan.skipped += 1
            entries.append(row)
        elif photo and photo.stamp:
            plan.changed += 1
            touched = True
            entries.append(photo)
        else:  # not listed, or listed by name but not accessible
            gone = photo is not None or listing.is_gone(path, shard.source)
            if gone:
                plan.missing.append(path)
            if gone and prune:
                touched = True
            else:
                entries.append(row)
    failures = []
    for failure in read_failures(root, shard):
        known.add(failure.path)
        photo = listing.photos.get(failure.path)
        if photo and photo.stamp != failure.stamp:
            plan.changed += 1
            touched = True
            entries.append(photo)
        elif photo is None and (
            (prune and listing.is_gone(failure.path, shard.source))
            or listing.is_listed_now(failure.path)
        ):
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
    columns = {name: METADATA[name] for name in ("image_path", "stamp")}
    path = shard_files(root, shard.number)[1]
    table = read_table(path, columns, shard.photos, recorded=shard.checksums.metadata)
    return [(row["image_path"], row.get("stamp") or "") for row in table.to_pylist()]
