"""`recoseg curate`: find photos of an archive that are unfit to learn from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import Device, Precision, Prompts, Retrieval, SelectionFile, names_in
from recoseg.cli.output import say
from recoseg.cli.selected import selected
from recoseg.errors import OptionError
from recoseg.storage.counts import count_of


def curate(
    index: Annotated[str, typer.Argument(help="Folder of the index, or its URL.")],
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the selection, two contact sheets and the measurements; run the "
            "command again into it with other limits."
        ),
    ],
    checks: Annotated[
        str | None,
        typer.Option(
            help="Checks, with commas between them: tiny, blank, blurred, drawn, people, "
            "duplicates; or all, or none. By default all but people."
        ),
    ] = None,
    unwanted: Annotated[
        str | None,
        typer.Option(
            help="Leave out photos that show these things: a file of classes, or the classes with "
            "commas between them, such as 'gun, blood'."
        ),
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(
            help="Limit of a check, such as duplicates=0.97 or unwanted=0.1; repeat the option for "
            "several."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave out photos whose metadata do not meet this condition, such as "
            "'licence=CC0, CC BY*'; repeat the option for several conditions, all of which have "
            "to be met."
        ),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(
            help="Leave out photos whose metadata meet this condition, such as 'punsafe>0.5' or "
            "'url=*example.org*'; repeat the option for several conditions."
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            help="Table of metadata, parquet or CSV, with the path of a photo in each row. By "
            "default the tables of the index."
        ),
    ] = None,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            help="Keep photos whose path matches this pattern, such as '*/zebras/*', whatever is "
            "found; repeat the option for several patterns."
        ),
    ] = None,
    detector: Annotated[
        bool,
        typer.Option(
            "--detector",
            help="With the check people: also look for frontal faces by OpenCV's detector (needs "
            "the extra `people`).",
        ),
    ] = False,
    selection: SelectionFile = None,
    shown: Annotated[
        int, typer.Option(min=0, help="Maximum number of photos per section of a contact sheet.")
    ] = 100,
    retrieval: Retrieval = None,
    prompts: Prompts = None,
    device: Device = "auto",
    precision: Precision = "auto",
    workers: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads that read and measure photos. By default one per processor, at most 16.",
        ),
    ] = None,
) -> None:
    """Find photos that are unfit to learn from, and write a selection that leaves them out.

    Nothing is deleted. Look at the two contact sheets, then give the selection to the other
    commands by --selection.
    """
    from recoseg.archive.selection import SELECTION
    from recoseg.curation.results import LEFT_OUT_SHEET, NEARLY_SHEET
    from recoseg.pipeline.curate import curate as run

    found = run(
        selected(index, selection),
        out,
        checks=None if checks is None else names_in(checks),
        unwanted=unwanted,
        limits=dict(_limit(text) for text in limit or ()),
        only=only or (),
        without=without or (),
        table=table,
        keep=keep or (),
        detector=detector,
        retrieval=retrieval,
        prompts=prompts,
        shown=shown,
        threads=workers,
        device=device,
        precision=precision,
        progress=None,
    )
    for photo in found.failures:
        say(f"Not measured: {photo.path}: {photo.failure}", err=True)
    for column, counts in found.values.items():
        say(f"{column}: {', '.join(f'{value} ({count:,})' for value, count in counts)}")
    for reason, count in found.reasons.items():
        say(f"{reason}: {count_of(count, 'photos')}")
    left_out = sum(found.reasons.values())
    say(f"Left out: {left_out:,} of {count_of(found.photos, 'photos')}")
    say(f"Selection: {found.folder / SELECTION}")
    say(f"Contact sheets: {found.folder / LEFT_OUT_SHEET}, {found.folder / NEARLY_SHEET}")


def _limit(text: str) -> tuple[str, float]:
    name, equals, number = text.partition("=")
    try:
        return name.strip(), float(number if equals else "")
    except ValueError:
        raise OptionError(
            f"The limit {text!r} cannot be read. Expected NAME=NUMBER, such as duplicates=0.97."
        ) from None
