"""Writing a region memory: describe new photos of an index, and write one shard after the other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import cast

import numpy as np

from recoseg.archive.index import ArchiveIndex
from recoseg.errors import ArchiveError
from recoseg.executors import Executor, TaskFailed, Worker
from recoseg.hub.address import is_hub
from recoseg.memory.files import LocalFiles, read_rows, read_table, stamps_of
from recoseg.memory.layout import (
    FOLDERS,
    MemoryShard,
    clean,
    read_shards,
    write_shard,
)
from recoseg.memory.manifest import FORMAT, MemoryManifest
from recoseg.memory.report import MemoryReport
from recoseg.memory.worker import Described, MemoryIdentity
from recoseg.photos.refs import Photo
from recoseg.progress import StageProgress
from recoseg.storage.claim import claim
from recoseg.storage.counts import count_of
from recoseg.storage.locks import lock_folder


def write_memory(
    index: ArchiveIndex,
    out: str | os.PathLike[str],
    build: Callable[[], Worker[Sequence[Photo], Described]],
    executor: Executor,
    *,
    shard_size: int = 512,
    prune: bool = False,
    stamp: Callable[[Photo], str] | None = None,
    progress: bool | None = False,
) -> MemoryReport:
    """Build a region memory of the photos of an index, or add those that it lacks.

    Photos are known by their content, so copies are described once. Finished shards are not
    computed again; if a run is killed, only its unfinished shards are lost. All shards are written
    by this process in the order of their photos, so every executor produces the same files.

    Args:
        index: The index; photos that its selection leaves out are not described.
        out: Local folder of the memory, which is created if it does not exist.
        build: Builds a worker, such as a `RegionWorker`, whose identity is a `MemoryIdentity`.
        executor: Executor that runs the workers.
        shard_size: Maximum number of photos per shard.
        prune: Whether to remove photos that are no longer in the index or in its selection. By
            default they are kept, and a search can leave them out; see `RegionMemory.open`.
        stamp: The stamp of a photo's regions if they are stored ones; photos whose regions have
            changed, or whose stamp was not recorded, are described again. None if all are computed.
        progress: See `StageProgress`.

    Returns:
        What the run did.

    Raises:
        ArchiveError: `out` cannot be written to.
        EncoderMismatchError: The memory was made with other encoders, regions, size or precision.
        OutputError: The folder holds something else, or another process is writing to it.
    """
    started = time.perf_counter()
    root = local_folder(out)
    present: dict[str, Photo] = {}
    for photo in index.photos():
        present.setdefault(photo.id, photo)
    with executor.team(build) as team:  # first, so that a failure here leaves nothing behind
        made_by = cast(MemoryIdentity, team.identity)
        ours = MemoryManifest(
            made_by.phi,
            made_by.texts,
            made_by.provider,
            made_by.size,
            made_by.precision,
            version("recoseg"),
        )
        with writing(root, ours) as state:
            missing = [name for name in state.known if name not in present]
            changed = [
                name
                for name in state.known
                if stamp and name in present and stamp(present[name]) != state.stamps.get(name)
            ]
            dropped = {*changed, *(missing if prune else ())}
            if dropped:
                state.remove(dropped)
            new = [photo for name, photo in present.items() if name not in state.known]
            jobs = [new[at : at + shard_size] for at in range(0, len(new), shard_size)]
            failures: list[Photo] = []
            undone: list[str] = []
            described: set[str] = set()
            with StageProgress("Remembering", len(new), enabled=progress) as bar:
                # The number of a shard does not depend on whether those before it were finished.
                numbers = range(state.next_number, state.next_number + len(jobs))
                results = team.run(jobs, bar.advance)
                for number, job, result in zip(numbers, jobs, results, strict=True):
                    if isinstance(result, TaskFailed):
                        undone.append(f"{count_of(len(job), 'photos')}: {result.reason}")
                        continue
                    if result.rows.photos:
                        state.add(write_shard(root, number, result.rows, None))
                    failures += result.failures
                    failed = {photo.id for photo in result.failures}
                    described |= {photo.id for photo in job} - failed
            done = state.finish()
    return MemoryReport(
        photos=done.photos,
        regions=done.regions,
        new=len(described.difference(changed)),
        skipped=len(present) - len(new),
        missing=len(missing),
        removed=len(missing) if prune else 0,
        failures=tuple(failures),
        undone=tuple(undone),
        seconds=time.perf_counter() - started,
        changed=len(changed),
    )


def merge_memories(
    sources: Sequence[str | os.PathLike[str]], out: str | os.PathLike[str]
) -> MemoryReport:
    """Write the regions of several memories into one.

    Photos that the output holds already, or that several memories hold, are taken once. If the
    merge is killed, the next one continues it.

    Args:
        sources: Local folders or URLs of memories with the same encoders, regions, size and
            precision.
        out: Local folder; it is created, continued or updated.

    Returns:
        What the merge did.

    Raises:
        ArchiveError: A source is no memory or is damaged, or `out` is one of them.
        EncoderMismatchError: The memories were made with different settings.
        OutputError: The folder holds something else, or another process is writing to it.
    """
    from recoseg.memory.region_memory import RegionMemory

    started = time.perf_counter()
    root = local_folder(out)
    opened = [RegionMemory.open(source) for source in sources]
    if not opened:
        raise ArchiveError("Expected region memories to merge, got none.")
    for memory in opened:
        if memory.root.resolve() == root.resolve():
            raise ArchiveError(f"{root} is one of the memories to merge. Name another output.")
        opened[0].manifest.check_same(memory.manifest, opened[0].location)
    ours = replace(opened[0].manifest, recoseg=version("recoseg"), photos=0, regions=0, shards=0)
    new = skipped = 0
    with writing(root, ours) as state:
        for memory in opened:
            for rows in memory.shard_rows():
                kept = np.array([name not in state.known for name in rows.ids], bool)
                skipped += int((~kept).sum())
                if kept.any():
                    shard = write_shard(root, state.next_number, rows.only(kept), None)
                    state.add(shard)
                    state.known.update(dict.fromkeys(rows.only(kept).ids, shard.number))
                    new += int(kept.sum())
        done = state.finish()
    seconds = time.perf_counter() - started
    return MemoryReport(done.photos, done.regions, new, skipped, 0, 0, (), (), seconds)


@dataclass
class Writing:
    """A memory that is being written; its lock is held.

    Attributes:
        root: Its folder.
        manifest: Its manifest.
        shards: Its valid shards.
        known: Number of the shard of each photo that it holds, by photo id.
        stamps: Stamp of the stored regions of each photo that has one, by photo id.
        next_number: Number of the next shard.
    """

    root: Path
    manifest: MemoryManifest
    shards: list[MemoryShard]
    known: dict[str, int]
    stamps: dict[str, str]
    next_number: int

    def add(self, shard: MemoryShard) -> None:
        """Record a shard that has been written."""
        self.shards = [item for item in self.shards if item.number != shard.replaces] + [shard]
        self.next_number = max(self.next_number, shard.number + 1)

    def remove(self, photos: set[str]) -> None:
        """Rewrite the shards of these photos without them."""
        touched = sorted({self.known[name] for name in photos})
        files = LocalFiles(self.root)
        for shard in [item for item in self.shards if item.number in touched]:
            rows = read_rows(files, shard, self.manifest)
            kept = rows.only(np.array([name not in photos for name in rows.ids], bool))
            self.add(write_shard(self.root, self.next_number, kept, shard.number))
        for name in photos:
            del self.known[name]
        clean(self.root)

    def finish(self) -> MemoryManifest:
        """Write the counts into the manifest, and return it."""
        done = replace(
            self.manifest,
            recoseg=version("recoseg"),
            photos=sum(shard.photos for shard in self.shards),
            regions=sum(shard.regions for shard in self.shards),
            shards=len(self.shards),
        )
        done.save(self.root)
        return done


@contextmanager
def writing(root: Path, ours: MemoryManifest) -> Iterator[Writing]:
    """Lock a memory and open it for writing; it is created if it does not exist.

    Args:
        root: Its folder.
        ours: How the regions that are added are described.

    Raises:
        EncoderMismatchError: The memory was made with other settings.
        OutputError: The folder holds something else, or another process is writing to it.
    """
    with lock_folder(root):
        if claim(root, FORMAT, ("manifest.json", *FOLDERS), what="region memory", resume=True):
            manifest = MemoryManifest.load(root)
            manifest.check_same(ours, str(root))
        else:
            manifest = ours
            manifest.save(root)
        clean(root)
        shards, _ = read_shards(root)
        known, stamps = _known(LocalFiles(root), shards)
        first = max((shard.number for shard in shards), default=-1) + 1
        yield Writing(root, manifest, shards, known, stamps, first)


def local_folder(out: str | os.PathLike[str]) -> Path:
    """The folder of a memory that is to be written.

    Raises:
        ArchiveError: It is a URL, an address on the Hub or a file.
    """
    text = os.fspath(out)
    if "://" in text or is_hub(text):
        way = "upload it by `recoseg push`" if is_hub(text) else "copy it to the URL"
        raise ArchiveError(
            f"Cannot write the region memory to {text}. Expected a local folder; {way} when it is "
            "finished."
        )
    root = Path(text)
    if root.exists() and not root.is_dir():
        raise ArchiveError(f"{root} is a file. Expected a folder for the region memory.")
    return root


def _known(
    files: LocalFiles, shards: Iterable[MemoryShard]
) -> tuple[dict[str, int], dict[str, str]]:
    """For each photo the number of its shard and, if it has one, the stamp of its regions."""
    known: dict[str, int] = {}
    stamps: dict[str, str] = {}
    for shard in shards:
        table = read_table(files, shard, "photos")
        names = table["photo_id"].to_pylist()
        known.update(dict.fromkeys(names, shard.number))
        pairs = zip(names, stamps_of(table), strict=True)
        stamps.update((name, stamp) for name, stamp in pairs if stamp)
    return known, stamps
