"""`recoseg demo`: the whole method from photos to masks, with an HTML report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import Device, Precision
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
        str | None,
        typer.Option(
            help="File with one class per line: a name, or 'NAME: WORD; WORD; -WORD' with the "
            "words to search for and, after a -, words to avoid. Or several classes as 'dog, cat'. "
            "Or the name of a data set, such as cityscapes27. By default seven classes of the "
            "demo's photos."
        ),
    ] = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Run all stages on example photos and write an HTML report."""
    from recoseg.demo import run_demo

    report = run_demo(out, photos=photos or [], classes=classes, device=device, precision=precision)
    say(f"Report: {report.resolve()}")
