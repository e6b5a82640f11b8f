"""`recoseg demo`: the whole method from photos to masks, with an HTML report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import Device, Precision, names_in
from recoseg.cli.output import say


def demo(
    out: Annotated[Path, typer.Option(help="Folder for all outputs.")] = Path("demo"),
    photos: Annotated[
        list[str] | None,
        typer.Option(
            help="File, folder or glob of photos; repeat the option for several. By default the "
            "photos of the packages that the extra `demo` installs."
        ),
    ] = None,
    classes: Annotated[
        str,
        typer.Option(
            help='Comma-separated classes, such as "dog, cat, sofa". By default seven classes of '
            "the demo's photos."
        ),
    ] = "",
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Run all stages on example photos and write an HTML report."""
    from recoseg.demo import run_demo

    report = run_demo(
        out, photos=photos or [], classes=names_in(classes), device=device, precision=precision
    )
    say(f"Report: {report.resolve()}")
