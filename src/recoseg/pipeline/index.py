"""Building an index of photos, and opening an existing one (`recoseg index`)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

from recoseg.allocator import keep_freed_memory
from recoseg.archive.build import write_index
from recoseg.archive.index import ArchiveIndex
from recoseg.archive.layout import read_shards
from recoseg.archive.manifest import FORMAT
from recoseg.archive.selection import Selection
from recoseg.archive.worker import ShardWorker
from recoseg.device import resolve_compute
from recoseg.encoders.encoder_table import build_retrieval
from recoseg.encoders.inventory import files_of_preset
from recoseg.encoders.licences import tell_licences
from recoseg.encoders.presets import preset as preset_of
from recoseg.encoders.protocols import ImageTextEncoder
from recoseg.errors import ArchiveError
from recoseg.executors import Executor, LocalExecutor
from recoseg.pipeline.checks import Paths, as_list, check_encoder, check_output_folder
from recoseg.pipeline.kinds import describe_kind, kind_of
from recoseg.progress import telling_what_is_kept
from recoseg.storage.counts import count_of


def build_index(
    sources: Paths,
    out: str | Path,
    *,
    preset: str = "lite",
    retrieval: str | ImageTextEncoder | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int = 64,
    threads: int | None = None,
    shard_size: int = 512,
    prune: bool = False,
    exclude: str | Sequence[str] = (),
    relink: bool = False,
    executor: Executor | None = None,
    progress: bool | None = False,
) -> ArchiveIndex:
    """Embed photos for retrieval; call it again to continue, to add photos or to update them.

    Args:
        sources: Folders, lists of paths, tar shards, images or globs; see `list_sources`.
        out: Local folder of the index; it is created, continued or updated.
        preset: Name of a choice of encoders: see `PRESETS`. Its retrieval
            encoder is used.
        retrieval: Another retrieval encoder, as `NAME`, `NAME=WEIGHTS` or an object.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        batch_size: Photos per forward pass.
        threads: Threads that read and decode photos. By default one per processor, at most 16.
        shard_size: Maximum number of photos per shard. If a run is killed, only its unfinished
            shards are lost.
        prune: Whether to remove photos that are no longer in the sources, or are excluded.
        exclude: Patterns of photos and folders that are left out; see `Exclusion`.
        relink: Whether to look for indexed photos under new paths, by their content, as where an
            archive has moved; see `find_moves`. Nothing is embedded again or twice.
        executor: Executor that runs the work. By default photos are embedded in this process.
        progress: See `StageProgress`.

    Returns:
        The index; its `report` describes what this run did.

    Raises:
        ArchiveError: A source is missing, there are no photos, or the index is damaged.
        OutputError: `out` holds files that recoseg did not write, another process is writing to
            it, or it cannot be written to; shards that are finished stay.
        EncoderMismatchError: The index was made with another encoder, input size or precision.
        UnknownNameError: There is no such preset or encoder.
    """
    chosen = preset_of(preset).retrieval if retrieval is None else retrieval
    if retrieval is None:
        files = files_of_preset(preset_of(preset))
        tell_licences((needed.encoder, needed.licence) for needed in files)
    if isinstance(chosen, str):
        check_encoder(chosen, "retrieval")
    given = as_list(sources)
    folder = check_output_folder(out)
    with telling_what_is_kept(partial(_kept, folder)):
        report = write_index(
            given,
            folder,
            partial(shard_worker, chosen, device, precision, batch_size, threads),
            executor or LocalExecutor(),
            preset=None if retrieval is not None and not isinstance(retrieval, str) else preset,
            shard_size=shard_size,
            prune=prune,
            exclude=exclude,
            relink=relink,
            progress=progress,
        )
    index = open_index(out)
    index.report = report
    return index


def _kept(folder: Path) -> str:
    photos = sum(shard.photos for shard in read_shards(folder)[0])
    return f"{folder} keeps {count_of(photos, 'photos')}; run the same command again to go on."


def open_index(
    path: str | Path, *, selection: Selection | str | Path | None = None
) -> ArchiveIndex:
    """Open an index, or a folder of embeddings that was written by clip-retrieval.

    Args:
        path: The folder, or its URL.
        selection: Selection, or its file, that names the photos to leave out of search and
            learning.

    Raises:
        ArchiveError: The index was not found, its files do not belong together, or the
            selection cannot be read.
    """
    if selection is not None and not isinstance(selection, Selection):
        selection = Selection.load(os.fspath(selection))
    if Path(path).exists() and (kind := kind_of(path)) and kind != FORMAT:
        raise ArchiveError(f"Expected an index of photos. {describe_kind(path)}")
    return ArchiveIndex.open(os.fspath(path), selection)


def shard_worker(
    retrieval: str | ImageTextEncoder,
    device: str,
    precision: str,
    batch_size: int,
    threads: int | None,
) -> ShardWorker:
    """Build a worker that embeds photos, with its encoder, in the process that calls this."""
    compute = resolve_compute(device, precision)
    encoder = retrieval
    if isinstance(retrieval, str):
        keep_freed_memory()
        encoder = build_retrieval(retrieval, compute)
    return ShardWorker(cast(ImageTextEncoder, encoder), compute.precision, batch_size, threads)
