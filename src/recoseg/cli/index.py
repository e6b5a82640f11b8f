"""`recoseg index`: embed photos and build an index of them."""

from __future__ import annotations

from typing import Annotated

import typer

from recoseg.cli.executor_options import (
    ExecutorName,
    RayAddress,
    RayCpus,
    RayGpus,
    RayWorkers,
    executor_of,
)
from recoseg.cli.options import Device, Precision, Retrieval
from recoseg.cli.output import refuse_nothing, say


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
            help="Choice of encoders: lite, paper or paper-light; see `recoseg encoders`."
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
        typer.Option(help="Remove photos from the index that are no longer in the sources."),
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
        executor=place,
        progress=None,
    ).report
    assert report is not None
    for photo in report.failures:
        say(f"Left out: {photo.path}: {photo.failure}", err=True)
    for reason in report.undone:
        say(f"Not done: {reason}. Run the command again to try once more.", err=True)
    for source in report.empty:
        say(
            f"{source} lists no photo; its photos are kept in the index. Is the disk mounted?",
            err=True,
        )
    if report.removed:
        say(f"{report.removed:,} photos no longer exist and were removed.", err=True)
    elif report.missing and not prune:
        say(
            f"{len(report.missing):,} indexed photos no longer exist; --prune removes them.",
            err=True,
        )
    say(
        f"Index: {out} ({report.photos:,} photos; this run: {report.new:,} new, "
        f"{report.changed:,} changed, {report.skipped:,} known, {report.failed:,} left out)"
    )
    refuse_nothing(report.photos, report.photos + report.unusable, "indexed")
    if report.undone:
        raise typer.Exit(1)
