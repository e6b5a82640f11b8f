"""`recoseg demo`: the whole method from photos to masks, with a report to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import Device, Precision, names_in


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything that is made.")] = Path("demo"),
    photos: Annotated[
        list[str] | None,
        typer.Option(help="Your photos. By default those inside the extra `demo`."),
    ] = None,
    classes: Annotated[str, typer.Option(help='Your classes, such as "dog, cat, sofa".')] = "",
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Index photos, learn a handful of classes, segment, and write one HTML report."""
    from recoseg.demo import run_demo

    report = run_demo(
        out, photos=photos or [], classes=names_in(classes), device=device, precision=precision
    )
    typer.echo(f"Report: {report.resolve()}")
