"""`recoseg index`: embed photos and build an index of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from recoseg.cli.executor_options import (
    ExecutorName,
    RayAddress,
    RayCpus,
    RayGpus,
    RayWorkers,
    executor_of,
)
from recoseg.cli.options import Device, Exclude, Precision, Retrieval
from recoseg.cli.output import refuse_nothing, say
from recoseg.storage.counts import count_of

if TYPE_CHECKING:
    from recoseg.archive.index_report import IndexReport

_NAMED = 10  # photos that were not found


def index(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Photos: files, folders, text files of paths, tar shards or globs; local paths "
            "or URLs."
        ),
    ],
    out: Annotated[
        str, typer.Option(help="Folder of the index; it is created, continued or updated.")
    ],
    preset: Annotated[
        str,
        typer.Option(
            help="Choice of encoders: lite, open, best, sam3, paper or paper-light; see "
            "`recoseg encoders`."
        ),
    ] = "lite",
    retrieval: Retrieval = None,
    device: Device = "auto",
    precision: Precision = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Photos per forward pass.")] = 64,
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads that read and decode photos. By default one per processor, at most 16.",
        ),
    ] = None,
    shard_size: Annotated[
        int,
        typer.Option(
            min=1, help="Photos per shard. An interrupted run loses only unfinished shards."
        ),
    ] = 512,
    prune: Annotated[
        bool,
        typer.Option(
            help="Remove photos from the index that are no longer in the sources or are excluded "
            "now. By default they are kept."
        ),
    ] = False,
    exclude: Exclude = None,
    relink: Annotated[
        bool,
        typer.Option(
            "--relink",
            help="Look in the sources for photos of the index that have been moved or renamed, by "
            "their content, and record their new paths.",
        ),
    ] = False,
    executor: ExecutorName = "local",
    ray_address: RayAddress = "local",
    ray_workers: RayWorkers = None,
    ray_cpus: RayCpus = 1,
    ray_gpus: RayGpus = 0,
) -> None:
    """Embed photos for retrieval. Run it again to continue, to add photos or to update them."""
    from recoseg.pipeline.index import build_index

    place = executor_of(executor, ray_address, ray_workers, ray_cpus, ray_gpus)
    report = build_index(
        sources,
        out,
        preset=preset,
        retrieval=retrieval,
        device=device,
        precision=precision,
        batch_size=batch_size,
        threads=workers or (None if place is None else ray_cpus),
        shard_size=shard_size,
        prune=prune,
        exclude=exclude or (),
        relink=relink,
        executor=place,
        progress=None,
    ).report
    assert report is not None
    for line in _told(report, prune):
        say(line, err=True)
    say(
        f"Index: {out} ({count_of(report.photos, 'photos')}; this run: {report.new:,} new, "
        f"{report.changed:,} changed, {report.skipped:,} known, {report.failed:,} left out)"
    )
    refuse_nothing(report.photos, report.photos + report.unusable, "indexed")
    if report.undone:
        raise typer.Exit(1)


def _told(report: IndexReport, prune: bool) -> Iterator[str]:
    """What the user is told of a run besides its counts, line by line."""
    for photo in report.failures:
        yield f"Left out: {photo.path}: {photo.failure}"
    for reason in report.undone:
        yield f"Not done: {reason}. Run the command again to try once more."
    for source in report.empty:
        yield f"{source} lists no photo; its photos are kept in the index. Is the disk mounted?"
    if report.moved:
        moved = count_of(report.moved, "photos", "have")
        yield f"{moved} moved; the index has the new paths."
    if report.doubled:
        yield f"{count_of(report.doubled, 'photos')}, held under two paths, now kept under one."
    for path in report.unfound[:_NAMED]:
        yield f"Not found: {path}"
    if len(report.unfound) > _NAMED:
        yield f"Not found: {len(report.unfound) - _NAMED:,} more."
    if report.again:
        yield (
            f"{len(report.again):,} of the new photos, such as {report.again[0]}, are in the index "
            "already, under paths that these sources do not list. If the archive has moved, run "
            "the command again with --relink: it records the new paths and keeps each once."
        )
    if report.removed:
        yield f"Removed: {count_of(report.removed, 'photos')}, no longer there or excluded."
    elif report.excluded and not prune:
        photos = count_of(report.excluded, "indexed photos", "are")
        yield f"{photos} excluded now but kept; --prune removes such photos."
    gone = set(report.missing)
    if gone and not prune:
        photos = count_of(len(gone), "indexed photos", "are")
        yield f"{photos} no longer there but kept; --prune removes such photos."
    elsewhere = len(set(report.unfound) - gone)
    if elsewhere:
        photos = count_of(elsewhere, "indexed photos", "were")
        yield f"{photos} not found in these sources and kept."
