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
from recoseg.cli.options import Device, Exclude, Precision, Retrieval
from recoseg.cli.output import refuse_nothing, say

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
            help="Choice of encoders: lite, open, best, paper or paper-light; see "
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
            help="Remove photos from the index that are no longer in the sources or are excluded."
        ),
    ] = False,
    exclude: Exclude = None,
    relink: Annotated[
        bool,
        typer.Option(
            "--relink",
            help="Find photos of the index that have moved into the sources by their content, and "
            "record their new paths.",
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
    for photo in report.failures:
        say(f"Left out: {photo.path}: {photo.failure}", err=True)
    for reason in report.undone:
        say(f"Not done: {reason}. Run the command again to try once more.", err=True)
    for source in report.empty:
        say(
            f"{source} lists no photo; its photos are kept in the index. Is the disk mounted?",
            err=True,
        )
    if report.moved or report.doubled:
        say(
            f"{report.moved:,} photos have moved and have new paths; {report.doubled:,} that the "
            "index held twice are there once.",
            err=True,
        )
    for path in report.unfound[:_NAMED]:
        say(f"Not found: {path}", err=True)
    if report.unfound:
        more = len(report.unfound) - _NAMED
        say(
            (f"And {more:,} more. " if more > 0 else "")
            + f"{len(report.unfound):,} photos of the index are not in these sources.",
            err=True,
        )
    if report.again:
        say(
            f"{len(report.again):,} of the new photos, such as {report.again[0]}, are in the index "
            "already, under paths that these sources do not list. If the archive has moved, run "
            "the command again with --relink: it records the new paths and keeps each once.",
            err=True,
        )
    if report.removed:
        say(
            f"{report.removed:,} photos no longer exist or are excluded, and were removed.",
            err=True,
        )
    if report.excluded and not report.removed and not prune:
        say(f"{report.excluded:,} indexed photos are excluded; --prune removes them.", err=True)
    if report.missing and not report.removed and not prune:
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
