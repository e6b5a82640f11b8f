"""`recoseg compare`: two banks, recipes, evaluations or runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import Exclude, Ids, Root, Split
from recoseg.cli.output import say, say_json, say_lines, say_table


def compare(
    one: Annotated[
        str,
        typer.Argument(
            help="Concept bank, name of a recipe, folder of `recoseg evaluate --out`, or masks: a "
            "folder of `recoseg segment`, a file or folder in a format of `recoseg convert`, or a "
            "folder of NAME.png with classes.txt."
        ),
    ],
    other: Annotated[str, typer.Argument(help="Another one of the same kind.")],
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Labelled data set to score both masks on; see `recoseg datasets`. Without it, "
            "masks are compared with each other."
        ),
    ] = None,
    root: Root = None,
    split: Split = None,
    ids: Ids = None,
    exclude: Exclude = None,
    protocol: Annotated[
        str,
        typer.Option(
            help="How labels and masks are prepared: native, paper, tcl or proxyclip; see `recoseg "
            "evaluate`."
        ),
    ] = "native",
    allow_missing: Annotated[
        bool,
        typer.Option("--allow-missing", help="Leave out photos of the data set without masks."),
    ] = False,
    images: Annotated[
        Path | None,
        typer.Option(help="Folder of the photos for the page, if the masks do not record it."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="Folder for a page for a browser, with the photos that changed most."),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier report.")
    ] = False,
    resamples: Annotated[
        int, typer.Option(help="How often photos are drawn for intervals and p-values.")
    ] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of these draws.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Compare two banks, recipes, evaluations or runs that have segmented photos."""
    from recoseg.pipeline.compare import compare as run

    found = run(
        one,
        other,
        dataset=dataset,
        root=root,
        split=split,
        ids=ids,
        exclude=exclude or (),
        protocol=protocol,
        allow_missing=allow_missing,
        images=images,
        report=report,
        overwrite=overwrite,
        resamples=resamples,
        seed=seed,
        progress=None,
    )
    failures = {} if found.agreement is None else found.agreement.failures
    for name, reason in failures.items():
        say(f"Left out: {name}: {reason}", err=True)
    if as_json:
        say_json(found.to_json())
    else:
        say(found.headline)
        for table in found.tables:
            say("")
            say(table.title)
            say_table(table.columns, table.rows)
            if table.note:
                say_lines(table.note)
    if found.page is not None:
        say(f"Report: {found.page}", err=as_json)
