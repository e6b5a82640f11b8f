"""One job of an indexing run: embed photos in batches, then commit the shard."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from recoseg.archive.layout import Failure, Record, Shard, shard_files, write_shard
from recoseg.archive.loading import Loaded
from recoseg.archive.planning import Job
from recoseg.encoders.base import ImageTextEncoder
from recoseg.errors import ArchiveError
from recoseg.progress import StageProgress


def run_job(
    root: Path,
    number: int,
    job: Job,
    items: Iterator[Loaded | Failure],
    encoder: ImageTextEncoder,
    batch_size: int,
    bar: StageProgress,
) -> tuple[Shard, list[Failure]]:
    """Embed a job's photos and commit its shard; returns it with the photos that failed."""
    good: list[tuple[Record, np.ndarray] | None] = []
    failed: list[Failure] = []
    while batch := list(islice(items, batch_size)):
        loaded = [item for item in batch if isinstance(item, Loaded)]
        rows = iter(_embed(encoder, [item.pixels for item in loaded]))
        misses = len(failed)
        for item in batch:
            outcome = (item.record, next(rows)) if isinstance(item, Loaded) else None
            if outcome and not np.isfinite(outcome[1]).all():
                reason = "the encoder gives no finite embedding"
                failed.append(Failure(outcome[0].image_path, reason, outcome[0].stamp))
                outcome = None
            elif isinstance(item, Failure):
                failed.append(item)
            good.append(outcome)
        bar.advance(len(batch), failed=len(failed) - misses)
    kept = _kept_rows(root, job)
    fresh = iter(good)
    outcomes = [kept[entry] if isinstance(entry, int) else next(fresh) for entry in job.entries]
    pairs = [outcome for outcome in outcomes if outcome]
    embeddings = np.array([row for _, row in pairs], np.float16).reshape(-1, encoder.info.dim)
    failures = [*job.failures, *failed]
    shard = Shard(number, job.source, len(pairs), len(failures), job.replaces)
    write_shard(root, shard, embeddings, [record for record, _ in pairs], failures)
    return shard, failed


def _embed(
    encoder: ImageTextEncoder, pixels: list[UInt8[Tensor, "3 size size"]]
) -> Float[np.ndarray, "n d"]:
    """Embeddings as they are stored: float16, rows L2-normalised."""
    if not pixels:
        return np.empty((0, encoder.info.dim), np.float16)
    with torch.inference_mode():
        rows = encoder.embed_images(torch.stack(pixels)).float().cpu()
    if rows.shape != (len(pixels), encoder.info.dim):
        raise ArchiveError(
            f"{encoder.info.name} gave embeddings of shape {tuple(rows.shape)}. Expected "
            f"({len(pixels)}, {encoder.info.dim})."
        )
    return (rows / rows.norm(dim=1, keepdim=True)).half().numpy()


def _kept_rows(root: Path, job: Job) -> dict[int, tuple[Record, np.ndarray]]:
    """Rows and records that a rewritten shard takes over."""
    rows = [entry for entry in job.entries if isinstance(entry, int)]
    if job.replaces is None or not rows:
        return {}
    array, metadata, _, _ = shard_files(root, job.replaces)
    embeddings = np.load(array, allow_pickle=False)
    records = pq.read_table(metadata).to_pylist()
    return {row: (Record(**records[row]), embeddings[row]) for row in rows}
