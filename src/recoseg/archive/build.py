"""From sources to an index: plan the shards, embed them, write them one after the other."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import cast

import numpy as np
import pyarrow.parquet as pq

from recoseg.archive.index_report import IndexReport
from recoseg.archive.layout import Shard, clean, photo_of, read_shards, shard_files, write_shard
from recoseg.archive.manifest import Manifest
from recoseg.archive.plan import ShardJob, make_plan
from recoseg.archive.worker import Embedded, Identity
from recoseg.errors import ArchiveError, EncoderMismatchError
from recoseg.executors import Executor, TaskFailed, Worker
from recoseg.files import write_lock
from recoseg.photos.refs import Photo
from recoseg.photos.sources import list_sources
from recoseg.progress import StageProgress


def write_index(
    sources: Sequence[str | os.PathLike[str]],
    out: str | os.PathLike[str],
    build: Callable[[], Worker[Sequence[Photo], Embedded]],
    executor: Executor,
    *,
    preset: str | None = None,
    shard_size: int = 1024,
    prune: bool = False,
    progress: bool | None = False,
) -> IndexReport:
    """Make an index, or update one.

    Finished shards are not computed again. New photos become new shards. A photo whose size or
    time differs from the record is read again and its shard rewritten with the other rows as they
    are. A run may be killed at any moment: what it loses are the shards in flight. Shards are
    committed in the order of their photos, here, whoever embeds them: every executor writes the
    same files.

    Args:
        sources: Folders, lists of paths, tar shards, images or globs; see `list_sources`.
        out: A local folder, made if absent; see `recoseg.archive.layout` for what it holds.
        build: Makes a worker, such as a `ShardWorker`, whose identity is an `Identity`.
        executor: Where workers run.
        preset: The preset by which the encoder was chosen, for the manifest.
        shard_size: Maximum number of photos of a shard; a killed run can lose the work of two
            shards for each worker.
        prune: Drop the rows of photos that have gone from these sources. By default they are
            kept and reported, since a disk may merely be away.
        progress: See `StageProgress`.

    Raises:
        ArchiveError: A source is missing, nothing is found, or `out` cannot be written to.
        EncoderMismatchError: The index was made with another encoder, frame or precision.
    """
    started = time.perf_counter()
    root = _local_folder(out)
    listed = list_sources(sources)
    if not any(source.photos for source in listed):
        raise ArchiveError(
            f"No photos in {', '.join(map(str, sources))}. Expected files with an image's "
            "extension, such as .jpg or .png, which are not hidden."
        )
    with executor.team(build) as team:  # before anything is written: it may be refused
        root.mkdir(parents=True, exist_ok=True)
        with write_lock(root):
            made_by = cast(Identity, team.identity)
            manifest = _agree(
                root,
                Manifest(made_by.encoder, made_by.frame, made_by.precision, preset, _version()),
            )
            clean(root)
            shards, _ = read_shards(root)
            plan = make_plan(root, shards, listed, max(1, shard_size), prune)
            first = max((shard.number for shard in shards), default=-1) + 1
            failures: list[Photo] = []
            undone: list[str] = []
            total = sum(len(job.to_embed) for job in plan.jobs)
            with StageProgress("Indexing", total, enabled=progress) as bar:
                results = team.run((job.to_embed for job in plan.jobs), bar.advance)
                for number, (job, result) in enumerate(zip(plan.jobs, results, strict=True), first):
                    if isinstance(result, TaskFailed):
                        undone.append(
                            f"{len(job.to_embed):,} photos of {job.source}: {result.reason}"
                        )
                        continue
                    shard, failed = _commit(root, number, job, result)
                    shards = [item for item in shards if item.number != job.replaces] + [shard]
                    failures += failed
            clean(root)
            photos = sum(shard.photos for shard in shards)
            unusable = sum(shard.failures for shard in shards)
            replace(
                manifest, recoseg=_version(), photos=photos, failures=unusable, shards=len(shards)
            ).save(root)
    return IndexReport(
        photos=photos,
        unusable=unusable,
        new=plan.new,
        changed=plan.changed,
        skipped=plan.skipped,
        failed=len(failures),
        removed=len(plan.missing) if prune else 0,
        missing=tuple(plan.missing),
        failures=tuple(failures),
        undone=tuple(undone),
        seconds=time.perf_counter() - started,
    )


def _version() -> str:
    return version("recoseg")


def _local_folder(out: str | os.PathLike[str]) -> Path:
    text = os.fspath(out)
    if "://" in text:
        raise ArchiveError(
            f"Cannot write the index to {text}. Expected a local folder, since embeddings are "
            "mapped into memory; sources may be URLs."
        )
    root = Path(text)
    if root.exists() and not root.is_dir():
        raise ArchiveError(f"{root} is a file. Expected a folder for the index.")
    if not Manifest.load(root) and any(root.glob("img_emb/*.npy")):
        raise ArchiveError(
            f"{root} holds embeddings of another program. It can be searched but not added to: "
            "choose another folder."
        )
    return root


def _agree(root: Path, ours: Manifest) -> Manifest:
    """The manifest, written if there is none; refuses an index of other settings."""
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
    """Write the shard of a job; returns it with the photos that failed in this run."""
    fresh = iter(embedded.rows)
    done = iter((photo, None if photo.failure else next(fresh)) for photo in embedded.photos)
    kept = _kept_rows(root, job)
    outcomes = [kept[entry] if isinstance(entry, int) else next(done) for entry in job.entries]
    pairs = [(photo, row) for photo, row in outcomes if row is not None]
    failed = [photo for photo, row in outcomes if row is None]
    rows = np.array([row for _, row in pairs], np.float16).reshape(-1, embedded.rows.shape[1])
    failures = [*job.failures, *failed]
    shard = Shard(number, job.source, len(pairs), len(failures), job.replaces)
    write_shard(root, shard, rows, [photo for photo, _ in pairs], failures)
    return shard, failed


def _kept_rows(root: Path, job: ShardJob) -> dict[int, tuple[Photo, np.ndarray]]:
    """Rows and photos that a rewritten shard keeps."""
    rows = [entry for entry in job.entries if isinstance(entry, int)]
    if job.replaces is None or not rows:
        return {}
    array, metadata, _, _ = shard_files(root, job.replaces)
    embeddings = np.load(array, allow_pickle=False)
    records = pq.read_table(metadata).to_pylist()
    return {row: (photo_of(records[row]), embeddings[row]) for row in rows}
