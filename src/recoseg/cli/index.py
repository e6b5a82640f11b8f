"""`recoseg index`: embed an archive of photos."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import Device, Precision, Retrieval


def index(
    sources: Annotated[
        list[str],
        typer.Argument(help="Folders, lists of paths, tar shards, images, globs; local or URLs."),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the index; made, continued or appended to.")],
    preset: Annotated[str, typer.Option(help="lite, paper or paper-light.")] = "lite",
    retrieval: Retrieval = None,
    device: Device = "auto",
    precision: Precision = "auto",
    batch_size: Annotated[int, typer.Option(min=1, help="Photos per forward pass.")] = 64,
    workers: Annotated[int | None, typer.Option(min=1, help="Threads that decode.")] = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Photos per unit of work.")] = 1024,
    prune: Annotated[bool, typer.Option(help="Drop photos that have gone.")] = False,
) -> None:
    """Embed photos for retrieval. Run it again to continue, to add photos or to update them."""
    from recoseg.archive.indexing import build_index
    from recoseg.device import resolve_compute
    from recoseg.encoders.registry import build_retrieval
    from recoseg.presets import preset as preset_of

    compute = resolve_compute(device, precision)
    encoder = build_retrieval(retrieval or preset_of(preset).retrieval, compute)
    report = build_index(
        sources,
        out,
        encoder,
        precision=compute.precision,
        preset=preset,
        batch_size=batch_size,
        workers=workers,
        shard_size=shard_size,
        prune=prune,
        progress=None,
    )
    for failure in report.failures:
        typer.echo(f"Left out: {failure.image_path}: {failure.reason}", err=True)
    if report.missing:
        typer.echo(
            f"{len(report.missing):,} indexed photos are gone; --prune drops them.", err=True
        )
    typer.echo(
        f"Index: {out} ({report.photos:,} photos; this run: {report.new:,} new, "
        f"{report.changed:,} changed, {report.skipped:,} known, {report.failed:,} left out)"
    )
