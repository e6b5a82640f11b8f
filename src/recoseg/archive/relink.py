"""Photos of an index that have moved: found again by their content and not embedded twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from recoseg.archive.layout import Shard, read_failures, read_photos
from recoseg.cores import usable_cores
from recoseg.errors import BadImageError
from recoseg.executors import ahead
from recoseg.photos.exclusion import Exclusion, relative_path
from recoseg.photos.filesystems import file_system
from recoseg.photos.reading import read_photo
from recoseg.photos.refs import Photo, split_member
from recoseg.photos.sources import PhotoSource
from recoseg.progress import StageProgress
from recoseg.storage.checksums import checksum

_AHEAD = 32  # photos that are read at a time


@dataclass
class Moves:
    """What has become of indexed photos that the sources do not list under their paths.

    Attributes:
        found: The photo at its new path, by the path that the index holds.
        doubled: Paths where there is no file any more, and whose content the index also holds
            under a path that is listed.
        unfound: Other paths of sources that are not given, with the name of their source.
        moved: The sources that have moved.
        sources: The new name of each source of which photos have moved; of several, one a line.
        is_complete: Whether everything in the sources could be listed and read, so that a photo
            which was not found is not there.
        retried: Paths of photos that cannot be used and are listed under another path now.
    """

    found: dict[str, Photo] = field(default_factory=dict)
    doubled: set[str] = field(default_factory=set)
    unfound: dict[str, str] = field(default_factory=dict)
    moved: set[str] = field(default_factory=set)
    sources: dict[str, str] = field(default_factory=dict)
    is_complete: bool = True
    retried: set[str] = field(default_factory=set)

    def is_gone(self, path: str) -> bool:
        """Whether the source of a photo has moved, but not the photo, and all was looked at."""
        return self.is_complete and self.unfound.get(path) in self.moved


@dataclass(frozen=True)
class _Row:
    """An indexed photo that is not listed under its path."""

    photo: Photo
    source: str

    @property
    def relative(self) -> str:
        return relative_path(self.photo.path, self.source)


def find_moves(
    root: Path,
    shards: Sequence[Shard],
    sources: Sequence[PhotoSource],
    exclude: Exclusion,
    progress: bool | None = False,
) -> Moves:
    """Look for the indexed photos that the sources do not list among those that they list anew.

    Of the new photos only those are read whose size is that of an indexed one. Where several have
    the same content, those with the same path relative to their source are taken for each other
    first, then those of the same name. A source has moved if half of its photos are found, and
    none of them is listed under its old path. Single photos of other sources have moved if they
    are no longer where they were.

    Args:
        root: Folder of the index.
        shards: Its finished shards.
        sources: The sources with their photos.
        exclude: What the sources do not list although it may be there; it has not moved.
        progress: See `StageProgress`.

    Raises:
        ArchiveError: A table of the index is damaged.
    """
    places = {photo.path: source for source in sources for photo in source.photos}
    listed = [photo for source in sources for photo in source.photos]
    known: set[str] = set()
    held: set[str] = set()  # hashes of what is listed under its path
    rows: list[_Row] = []
    for shard in shards:
        names = shard.source.split("\n")
        bases = [source.base for source in sources if source.name in names]
        for photo in read_photos(root, shard):
            known.add(photo.path)
            if photo.path in places:
                held.add(photo.hash)
            elif not any(exclude.leaves_out(relative_path(photo.path, base)) for base in bases):
                rows.append(_Row(photo, shard.source))
    new = [photo for photo in listed if photo.path not in known]
    moves = Moves(is_complete=not any(photo.failure for photo in listed))
    sizes = {row.photo.size for row in rows if row.photo.hash}
    usable = [one for one in new if not one.failure and (one.size in sizes or one.size < 0)]
    hashed = []
    for photo in _hashed(usable if sizes else [], progress):
        moves.is_complete &= not photo.failure
        hashed += [] if photo.failure else [photo]
    pairs = _pairs(rows, hashed, places)
    _judge(rows, pairs, held - {""}, {source.name for source in sources}, places, moves)
    _retry(root, shards, new, {path: source.name for path, source in places.items()}, moves)
    return moves


def _hashed(photos: Sequence[Photo], progress: bool | None) -> Iterator[Photo]:
    """The photos with the hashes of their bytes, or with the reason why they cannot be read."""

    def read(photo: Photo) -> Photo:
        try:
            return replace(photo, hash=checksum(read_photo(photo)))
        except (BadImageError, MemoryError) as error:
            return photo.failed(str(error))

    with (
        StageProgress("Comparing", len(photos), enabled=progress) as bar,
        ThreadPoolExecutor(min(16, usable_cores())) as pool,
    ):
        for photo in ahead(pool, read, photos, _AHEAD):
            bar.advance(failed=int(bool(photo.failure)))
            yield photo


def _pairs(
    rows: Iterable[_Row], photos: Iterable[Photo], places: dict[str, PhotoSource]
) -> dict[str, Photo]:
    """For the old path of each row the new photo of equal content, each photo once."""
    keys: tuple[Callable[[Photo, str], tuple[str, str]], ...] = (
        lambda photo, relative: (photo.hash, relative),
        lambda photo, relative: (photo.hash, relative.rpartition("/")[2]),
        lambda photo, relative: (photo.hash, ""),
    )
    found: dict[str, Photo] = {}
    left_rows, left = [row for row in rows if row.photo.hash], list(photos)
    for key in keys:
        waiting: defaultdict[tuple[str, str], list[Photo]] = defaultdict(list)
        for photo in reversed(left):
            waiting[key(photo, relative_path(photo.path, places[photo.path].base))].append(photo)
        for row in left_rows:
            same = waiting.get(key(row.photo, row.relative))
            if same:
                found[row.photo.path] = same.pop()
        taken = {photo.path for photo in found.values()}
        left = [photo for photo in left if photo.path not in taken]
        left_rows = [row for row in left_rows if row.photo.path not in found]
    return found


def _judge(
    rows: Sequence[_Row],
    pairs: dict[str, Photo],
    held: set[str],
    given: set[str],
    places: dict[str, PhotoSource],
    moves: Moves,
) -> None:
    """Decide which sources and which photos have moved, and fill `moves`."""
    held = held | {photo.hash for photo in pairs.values()}
    of_source: defaultdict[str, list[_Row]] = defaultdict(list)
    for row in rows:
        of_source[row.source].append(row)
    for source, members in of_source.items():
        hashes = {row.photo.path: row.photo.hash for row in members}
        paired = {path: pairs[path] for path in hashes if path in pairs}
        doubled = {
            path
            for path, digest in hashes.items()
            if path not in paired and digest in held and not _exists(path)
        }
        is_given = any(name in given for name in source.split("\n"))
        has_moved = not is_given and 2 * (len(paired) + len(doubled)) >= len(members)
        if not has_moved:
            paired = {path: photo for path, photo in paired.items() if not _exists(path)}
        moves.found |= paired
        moves.doubled |= doubled
        if not is_given:
            left = hashes.keys() - paired.keys() - doubled
            moves.unfound |= {path: source for path in hashes if path in left}
        new = {places[photo.path].name for photo in paired.values()}
        if has_moved:
            moves.moved.add(source)
        if new:
            names = new if has_moved else {*source.split("\n"), *new}
            moves.sources[source] = "\n".join(sorted(names))


def _retry(
    root: Path,
    shards: Sequence[Shard],
    new: Sequence[Photo],
    places: dict[str, str],
    moves: Moves,
) -> None:
    """Find the photos without an embedding that are listed anew: they are tried there."""
    names = {(_name(photo.path), photo.stamp.partition("-")[0]) for photo in new}
    for shard in shards:
        if shard.source in moves.sources:
            for failure in read_failures(root, shard):
                key = (_name(failure.path), failure.stamp.partition("-")[0])
                if failure.path not in places and key in names:
                    moves.retried.add(failure.path)


def _name(path: str) -> str:
    outer, _, member = split_member(path)
    return (member or outer).rpartition("/")[2]


def _exists(path: str) -> bool:
    """Whether there still is a file at a path; true if that cannot be found out."""
    try:
        fs, inner = file_system(split_member(path)[0])
        return bool(fs.exists(inner))
    except Exception:  # each file system raises its own types of errors
        return True
