"""Writing an index: plan the shards, embed their photos, and write one shard after the other."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import cast

import numpy as np

from recoseg.archive.index_report import IndexReport
from recoseg.archive.layout import (
    FOLDERS,
    UNFINISHED,
    Shard,
    begin_run,
    clean,
    read_marker,
    read_photos,
    read_shards,
    shard_files,
    write_shard,
)
from recoseg.archive.manifest import FORMAT, MANIFEST, Manifest
from recoseg.archive.plan import Moved, ShardJob, make_plan
from recoseg.archive.relink import find_moves
from recoseg.archive.repair import repair_advice
from recoseg.archive.rows import map_rows
from recoseg.archive.worker import Embedded, Identity
from recoseg.errors import ArchiveError, EncoderMismatchError, FileError, OutputError
from recoseg.executors import Executor, TaskFailed, Worker
from recoseg.photos.exclusion import Exclusion, but_not
from recoseg.photos.films import but_films
from recoseg.photos.refs import Photo
from recoseg.photos.sources import PhotoSource, list_sources
from recoseg.progress import StageProgress
from recoseg.storage.checksums import check_file
from recoseg.storage.claim import claim, format_in
from recoseg.storage.counts import count_of
from recoseg.storage.locks import lock_folder


def write_index(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    build: Callable[[], Worker[Sequence[Photo], Embedded]],
    executor: Executor,
    *,
    preset: str | None = None,
    shard_size: int = 512,
    prune: bool = False,
    exclude: str | Sequence[str] = (),
    relink: bool = False,
    progress: bool | None = False,
) -> IndexReport:
    """Build an index, or update an existing one.

    Finished shards are not computed again. New photos become new shards. A photo whose size or
    modification time has changed is embedded again, and its shard is rewritten without changing
    the other rows. If a run is killed, only its unfinished shards are lost. All shards are written
    by this process in the order of their photos, so every executor produces the same files.

    Args:
        sources: Folders, lists of paths, tar shards, images or globs; see `list_sources`.
        out: Local folder of the index, which is created if it does not exist; see
            `recoseg.archive.layout` for its files.
        build: Builds a worker, such as a `ShardWorker`, whose identity is an `Identity`.
        executor: Executor that runs the workers.
        preset: Preset from which the encoder was chosen; it is recorded in the manifest.
        shard_size: Maximum number of photos per shard. If a run is killed, each worker can lose
            the work of two shards.
        prune: Whether to remove photos that are no longer in the sources. By default they are
            kept and reported, since a disk may only be disconnected.
        exclude: Patterns of photos and folders that are left out; see `Exclusion`.
        relink: Whether to look for indexed photos under new paths, by their content; see
            `find_moves`.
        progress: See `StageProgress`.

    Returns:
        What the run did.

    Raises:
        ArchiveError: A source is missing, there are no photos, or the index is damaged.
        OutputError: `out` holds files that recoseg did not write, another process is writing to
            it, or it cannot be written to; shards that are finished stay.
        EncoderMismatchError: The index was made with another encoder, frame or precision.
    """
    started = time.perf_counter()
    with _writing(Path(out)):
        root = _local_folder(out)
    exclusion = Exclusion.of(exclude)
    listed = list_sources(sources, exclusion.patterns)
    if not any(source.photos for source in listed):
        raise ArchiveError(
            f"No photos in {', '.join(map(str, sources))}. Expected files that are not "
            "hidden and have the extension of an image, such as .jpg or .png"
            f"{but_not(exclude)}{but_films(sources)}"
        )
    # The workers first, so that a failure of theirs leaves nothing behind.
    with executor.team(build) as team, contextlib.ExitStack() as held:
        with _writing(root):
            held.enter_context(lock_folder(root))
            _claim(root)
            made_by = cast(Identity, team.identity)
            manifest = _load_or_write_manifest(
                root,
                Manifest(made_by.encoder, made_by.frame, made_by.precision, preset, _version()),
            )
            clean(root)
            shards, _ = read_shards(root)
            moves = find_moves(root, shards, listed, exclusion, progress) if relink else None
            plan = make_plan(root, shards, listed, max(1, shard_size), prune, exclusion, moves)
            first = begin_run(root, len(plan.jobs))
        failures: list[Photo] = []
        undone: list[str] = []
        again: list[Photo] = []
        new = changed = 0
        total = sum(len(job.to_embed) for job in plan.jobs)
        with StageProgress("Indexing", total, enabled=progress) as bar:
            results = team.run((job.to_embed for job in plan.jobs), bar.advance)
            for number, (job, result) in enumerate(zip(plan.jobs, results, strict=True), first):
                if isinstance(result, TaskFailed):
                    undone.append(
                        f"{count_of(len(job.to_embed), 'photos')} of {job.source}: {result.reason}"
                    )
                    continue
                with _writing(root):
                    shard, failed = _commit(root, number, job, result)
                shards = [item for item in shards if item.number != job.replaces] + [shard]
                failures += failed
                usable = len(job.to_embed) - len(failed)
                if job.replaces is None:
                    new += usable
                    again += plan.known_elsewhere(result.photos)
                else:
                    changed += usable
        failures += _unlisted(listed, failures)
        photos = sum(shard.photos for shard in shards)
        unusable = sum(shard.failures for shard in shards)
        with _writing(root):
            clean(root)
            replace(
                manifest,
                recoseg=_version(),
                photos=photos,
                failures=unusable,
                shards=len(shards),
            ).save(root)
    return IndexReport(
        photos=photos,
        unusable=unusable,
        new=new,
        changed=changed,
        skipped=plan.skipped,
        failed=len({photo.path for photo in failures}.union(plan.unusable)),
        removed=len(plan.missing) + plan.excluded if prune else 0,
        missing=tuple(plan.missing),
        failures=tuple(failures),
        undone=tuple(undone),
        empty=tuple(plan.empty),
        seconds=time.perf_counter() - started,
        excluded=plan.excluded,
        moved=plan.moved,
        doubled=plan.doubled,
        unfound=tuple(moves.unfound) if moves else (),
        again=tuple(photo.path for photo in again),
    )


def _unlisted(sources: Sequence[PhotoSource], told: Sequence[Photo]) -> list[Photo]:
    """The folders, shards and lines that cannot be listed, which each run tells anew."""
    known = {photo.path for photo in told}
    return [
        photo
        for source in sources
        for photo in source.photos
        if photo.failure and not photo.stamp and photo.path not in known
    ]


def _version() -> str:
    return version("recoseg")


def _local_folder(out: str | os.PathLike[str]) -> Path:
    text = os.fspath(out)
    if "://" in text:
        raise ArchiveError(
            f"Cannot write the index to {text}. Expected a local folder, since embeddings are "
            "memory-mapped. Only the sources may be URLs."
        )
    root = Path(text)
    if root.exists() and not root.is_dir():
        raise ArchiveError(f"{root} is a file. Expected a folder for the index.")
    _claim(root)
    return root


def _claim(root: Path) -> None:
    """Refuse a folder that holds anything but an index, which is continued."""
    Manifest.load(root)  # a damaged one is no stranger's
    names = [MANIFEST, UNFINISHED, *FOLDERS]
    if root.is_dir() and format_in(root) != FORMAT:  # hidden files, such as a lock, do not matter
        names += [path.name for path in root.iterdir() if not path.name.startswith(".")]
    claim(root, FORMAT, dict.fromkeys(names), what="index", resume=True)


@contextlib.contextmanager
def _writing(root: Path) -> Iterator[None]:
    """Turn the errors of a full or read-only disk into one line."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"Cannot write the index {root}: {error.strerror or error}. The shards that are "
            "finished stay; run the command again to continue."
        ) from error


def _load_or_write_manifest(root: Path, ours: Manifest) -> Manifest:
    """The manifest of the index; it is written if there is none.

    Raises:
        EncoderMismatchError: The index has a manifest with other settings.
    """
    found = Manifest.load(root)
    if found is None:
        ours.save(root)
        return ours
    advice = "Use the same settings, or build another index."
    if not found.encoder.same_as(ours.encoder):
        raise EncoderMismatchError(
            f"{root} was made with {found.encoder.name} ({found.encoder.weights}, "
            f"{found.encoder.fingerprint}), not with {ours.encoder.name} "
            f"({ours.encoder.weights}, {ours.encoder.fingerprint}). {advice}"
        )
    if found.frame != ours.frame:
        raise EncoderMismatchError(
            f"{root} was made with {found.frame}, not with {ours.frame}. {advice}"
        )
    if found.precision != ours.precision:
        raise EncoderMismatchError(
            f"{root} was made in {found.precision}, not in {ours.precision}. {advice}"
        )
    return found


def _commit(
    root: Path, number: int, job: ShardJob, embedded: Embedded
) -> tuple[Shard, list[Photo]]:
    """Write the shard of a job; return it and the photos that failed in this run."""
    new_rows = iter(embedded.rows)
    new = iter((photo, None if photo.failure else next(new_rows)) for photo in embedded.photos)
    kept = _kept_rows(root, job, embedded.rows.shape[1])
    entries = [next(new) if isinstance(entry, Photo) else kept[entry] for entry in job.entries]
    pairs = [(photo, row) for photo, row in entries if row is not None]
    failed = [photo for photo, row in entries if row is None]
    rows = np.array([row for _, row in pairs], np.float16).reshape(-1, embedded.rows.shape[1])
    failures = [*job.failures, *failed]
    shard = Shard(number, job.source, len(pairs), len(failures), job.replaces)
    return write_shard(root, shard, rows, [photo for photo, _ in pairs], failures), failed


def _kept_rows(root: Path, job: ShardJob, dim: int) -> dict[int | Moved, tuple[Photo, np.ndarray]]:
    """The photos that a rewritten shard keeps and their embeddings, by entry of the job."""
    rows = [entry for entry in job.entries if not isinstance(entry, Photo)]
    if job.replaces is None or not rows:
        return {}
    array, _, _, marker = shard_files(root, job.replaces)
    old, _ = read_marker(marker)
    if old.checksums.embeddings:  # or damaged rows would get a new checksum
        try:
            check_file(array, old.checksums.embeddings)
        except FileError as error:
            raise ArchiveError(f"{error} {repair_advice(array)}") from error
    embeddings = map_rows(array, dim, old.photos)
    photos = read_photos(root, old)
    return {
        row: (row.moved(photos[row.row]), embeddings[row.row])
        if isinstance(row, Moved)
        else (photos[row], embeddings[row])
        for row in rows
    }
