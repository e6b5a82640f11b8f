"""`recoseg demo`: the whole way from photos to masks, with a report to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import Device, Precision


def demo(
    out: Annotated[Path, typer.Option(help="Folder for all that is made.")] = Path("demo"),
    photos: Annotated[
        list[str] | None, typer.Option(help="Your photos; else those inside the extra `demo`.")
    ] = None,
    classes: Annotated[str, typer.Option(help='Your classes, such as "dog, cat, sofa".')] = "",
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Index photos, learn a handful of classes, segment, and write one HTML report."""
    from recoseg.demo import run_demo
    from recoseg.device import resolve_compute

    compute = resolve_compute(device, precision)
    report = run_demo(out, compute, photos=photos or [], classes=classes)
    typer.echo(f"Report: {report.resolve()}")
