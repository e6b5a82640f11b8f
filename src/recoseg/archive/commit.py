"""Turning the embedded photos of one job into a shard on the disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from recoseg.archive.layout import Failure, Record, Shard, shard_files, write_shard
from recoseg.archive.plan import Job
from recoseg.archive.worker import Embedded


def commit(root: Path, number: int, job: Job, embedded: Embedded) -> tuple[Shard, list[Failure]]:
    """Write a job's shard; returns it with the photos that failed in this run."""
    fresh = iter(embedded.rows)
    done = iter(
        outcome if isinstance(outcome, Failure) else (outcome, next(fresh))
        for outcome in embedded.outcomes
    )
    kept = _kept_rows(root, job)
    outcomes = [kept[entry] if isinstance(entry, int) else next(done) for entry in job.entries]
    pairs = [outcome for outcome in outcomes if not isinstance(outcome, Failure)]
    failed = [outcome for outcome in outcomes if isinstance(outcome, Failure)]
    rows = np.array([row for _, row in pairs], np.float16).reshape(-1, embedded.rows.shape[1])
    failures = [*job.failures, *failed]
    shard = Shard(number, job.source, len(pairs), len(failures), job.replaces)
    write_shard(root, shard, rows, [record for record, _ in pairs], failures)
    return shard, failed


def _kept_rows(root: Path, job: Job) -> dict[int, tuple[Record, np.ndarray]]:
    """Rows and records that a rewritten shard takes over."""
    rows = [entry for entry in job.entries if isinstance(entry, int)]
    if job.replaces is None or not rows:
        return {}
    array, metadata, _, _ = shard_files(root, job.replaces)
    embeddings = np.load(array, allow_pickle=False)
    records = pq.read_table(metadata).to_pylist()
    return {row: (Record(**records[row]), embeddings[row]) for row in rows}
