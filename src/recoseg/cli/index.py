"""`recoseg index`: embed an archive of photos."""

from __future__ import annotations

from functools import partial
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
from recoseg.cli.options import Device, Precision, Retrieval

if TYPE_CHECKING:
    from recoseg.archive.worker import ShardWorker


def index(
    sources: Annotated[
        list[str],
        typer.Argument(help="Folders, lists of paths, tar shards, images, globs; local or URLs."),
    ],
    out: Annotated[str, typer.Option(help="Folder of the index; made, continued or appended to.")],
    preset: Annotated[str, typer.Option(help="lite, paper or paper-light.")] = "lite",
    retrieval: Retrieval = None,
    device: Device = "auto",
    precision: Precision = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Photos per forward pass.")] = 64,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode.")] = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Photos per unit of work.")] = 1024,
    prune: Annotated[bool, typer.Option(help="Drop photos that have gone.")] = False,
    executor: ExecutorName = "local",
    ray_address: RayAddress = "local",
    ray_workers: RayWorkers = None,
    ray_cpus: RayCpus = 1,
    ray_gpus: RayGpus = 0,
) -> None:
    """Embed photos for retrieval. Run it again to continue, to add photos or to update them."""
    from recoseg.archive.build import write_index
    from recoseg.encoders.presets import preset as preset_of

    place = executor_of(executor, ray_address, ray_workers, ray_cpus, ray_gpus)
    threads = workers or (None if executor == "local" else ray_cpus)
    spec = retrieval or preset_of(preset).retrieval
    report = write_index(
        sources,
        out,
        partial(_worker, spec, device, precision, batch_size, threads),
        place,
        preset=preset,
        shard_size=shard_size,
        prune=prune,
        progress=None,
    )
    for failure in report.failures:
        typer.echo(f"Left out: {failure.path}: {failure.failure}", err=True)
    for reason in report.lost:
        typer.echo(f"Not done: {reason}. Run it again to try anew.", err=True)
    if report.missing:
        typer.echo(
            f"{len(report.missing):,} indexed photos are gone; --prune drops them.", err=True
        )
    typer.echo(
        f"Index: {out} ({report.photos:,} photos; this run: {report.new:,} new, "
        f"{report.changed:,} changed, {report.skipped:,} known, {report.failed:,} left out)"
    )
    if report.lost:
        raise typer.Exit(1)


def _worker(
    spec: str, device: str, precision: str, batch_size: int, threads: int | None
) -> ShardWorker:
    """Builds the encoder where it is to run."""
    from recoseg.archive.worker import ShardWorker
    from recoseg.device import resolve_compute
    from recoseg.encoders.encoder_table import build_retrieval
    from recoseg.memory import keep_freed_memory

    keep_freed_memory()
    compute = resolve_compute(device, precision)
    return ShardWorker(build_retrieval(spec, compute), compute.precision, batch_size, threads)
