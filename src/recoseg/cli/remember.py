"""`recoseg remember`: describe the regions of an archive; and what `recoseg inspect` prints."""

from __future__ import annotations

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
from recoseg.cli.options import Device, Precision, SelectionFile
from recoseg.cli.output import refuse_nothing, say, say_json
from recoseg.cli.selected import selected
from recoseg.errors import OptionError, RecosegError
from recoseg.storage.counts import count_of

if TYPE_CHECKING:
    from recoseg.memory.report import MemoryReport


def remember(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Folder of the index, or its URL. With --merge, the region memories to merge."
        ),
    ],
    out: Annotated[
        str, typer.Option(help="Folder of the memory; it is created, continued or updated.")
    ],
    merge: Annotated[
        bool, typer.Option("--merge", help="Merge region memories instead of describing photos.")
    ] = False,
    phi: Annotated[
        list[str] | None,
        typer.Option(
            help="Dense image encoder, as NAME or NAME=WEIGHTS, or MODULE:NAME for one of your "
            "own; repeat the option for several encoders. By default that of the index's preset."
        ),
    ] = None,
    saliency: Annotated[
        list[str] | None,
        typer.Option(
            help="Dense text encoder, as NAME or NAME=WEIGHTS, or MODULE:NAME for one of your "
            "own; repeat the option for several encoders. By default that of the index's preset."
        ),
    ] = None,
    regions: Annotated[
        str,
        typer.Option(
            help="What divides photos into regions: clusters, superpixels, slic, sam2 or "
            "files:FOLDER."
        ),
    ] = "clusters",
    size: Annotated[
        int, typer.Option(min=16, help="Side of the centre crop of a photo in pixels.")
    ] = 224,
    selection: SelectionFile = None,
    device: Device = "auto",
    precision: Precision = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Photos per forward pass.")] = 32,
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
            "--prune",
            help="Remove photos from the memory that are no longer in the index, or that "
            "--selection leaves out.",
        ),
    ] = False,
    executor: ExecutorName = "local",
    ray_address: RayAddress = "local",
    ray_workers: RayWorkers = None,
    ray_cpus: RayCpus = 1,
    ray_gpus: RayGpus = 0,
) -> None:
    """Describe the regions of an archive's photos. Run it again to continue or to add photos.

    A region memory needs no class names and serves every concept bank.
    """
    from recoseg.memory.build import merge_memories
    from recoseg.pipeline.remember import remember as run

    if merge:
        _print_report(out, merge_memories(sources, out))
        return
    if len(sources) != 1:
        raise OptionError(
            f"Expected one index, got {len(sources)}. To merge region memories, add --merge."
        )
    place = executor_of(executor, ray_address, ray_workers, ray_cpus, ray_gpus)
    memory = run(
        selected(sources[0], selection),
        out,
        phi=phi,
        saliency=saliency,
        regions=regions,
        size=size,
        device=device,
        precision=precision,
        batch_size=batch_size,
        threads=workers or (None if place is None else ray_cpus),
        shard_size=shard_size,
        prune=prune,
        executor=place,
        progress=None,
    )
    assert memory.report is not None
    _print_report(out, memory.report)
    if memory.report.undone:
        raise typer.Exit(1)


def print_memory(path: str, as_json: bool) -> None:
    """Print what a region memory holds, for `recoseg inspect`."""
    from dataclasses import asdict

    from recoseg.memory.region_memory import open_memory

    found = open_memory(path).summary()
    if as_json:
        fields = {**asdict(found), "regions_per_photo": found.regions_per_photo}
        say_json(fields)
        return
    lines = [
        f"photos: {found.photos:,}",
        f"regions: {found.regions:,} ({found.regions_per_photo:.1f} per photo), "
        f"by {found.provider}",
        f"size: {found.bytes / 1e6:,.1f} MB in {count_of(found.shards, 'shards')}",
        f"photos at {found.size} pixels, {found.precision}",
    ]
    roles = [("phi", info) for info in found.phi] + [("text", info) for info in found.texts]
    lines += [f"{role}: {info.described}" for role, info in roles]
    for line in lines:
        say(line)


def _print_report(out: str, report: MemoryReport) -> None:
    for photo in report.failures:
        say(f"Left out: {photo.path}: {photo.failure}", err=True)
    for reason in report.undone:
        say(f"Not done: {reason}. Run the command again to try once more.", err=True)
    if report.changed:
        say(
            f"{count_of(report.changed, 'photos', 'are')} described again, with other regions.",
            err=True,
        )
    if report.removed:
        say(f"{count_of(report.removed, 'photos', 'were')} removed.", err=True)
    elif report.missing:
        say(
            "Not in the index any more, or left out by --selection: "
            f"{count_of(report.missing, 'photos')} of the memory; --prune removes such photos.",
            err=True,
        )
    refuse_nothing(report.photos, report.photos + len(report.failures), "remembered")
    if not report.photos and not report.undone:
        raise RecosegError(
            "No photo is remembered: the index holds none, or its selection leaves out all. Index "
            "photos with `recoseg index`."
        )
    say(
        f"Region memory: {out} ({count_of(report.photos, 'photos')}, "
        f"{count_of(report.regions, 'regions')}; this run: "
        f"{report.new:,} new, {report.skipped:,} known, {len(report.failures):,} left out)"
    )
