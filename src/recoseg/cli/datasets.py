"""`recoseg datasets`: the table of labelled data sets, and the classes of one."""

from __future__ import annotations

from typing import Annotated

import typer


def datasets(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Data set whose classes are printed, in the format of `recoseg learn --classes`."
        ),
    ] = None,
    aliases: Annotated[
        bool, typer.Option("--aliases", help="Also print the aliases of each class.")
    ] = False,
) -> None:
    """List labelled data sets, or print the classes of one. The list shows the expected folders."""
    from recoseg.datasets.spaces import class_lines, label_space

    if name is not None:
        for line in class_lines(label_space(name), aliases=aliases):
            typer.echo(str(line))
        return

    from rich.console import Console
    from rich.table import Table

    from recoseg.datasets.dataset_table import TABLE

    table = Table("name", "classes", "data set")
    folders: dict[str, list[str]] = {}
    for row in TABLE:
        classes = "classes.txt"
        if row.fixed:
            space = label_space(row.name)
            merged = f", scored as {len(space.groups)}" if space.groups else ""
            classes = f"{len(space.classes)}{merged}"
        table.add_row(row.name, classes, row.layout.title)
        folders.setdefault(row.layout.title, list(row.layout.tree))
    table.add_row("hf:OWNER/NAME", "its own", "Hugging Face Hub: photos and masks in columns")
    Console().print(table)
    for title, tree in folders.items():
        typer.echo("\n  ".join([f"{title}:", *tree]))
    typer.echo("Classes as `recoseg learn` takes them: recoseg datasets NAME")
