"""`recoseg datasets`: the table of labelled data sets, and the classes of one."""

from __future__ import annotations

from typing import Annotated

import typer

from recoseg.cli.output import say, say_lines, say_table


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
            say(line)
        return

    from recoseg.datasets.dataset_table import TABLE

    rows: list[tuple[str, str, str]] = []
    folders: dict[str, list[str]] = {}
    for row in TABLE:
        classes = "classes.txt"
        if row.fixed:
            space = label_space(row.name)
            merged = f", scored as {len(space.groups)}" if space.groups else ""
            classes = f"{len(space.classes)}{merged}"
        rows.append((row.name, classes, row.layout.title))
        folders.setdefault(row.layout.title, list(row.layout.tree))
    rows.append(("hf:OWNER/NAME", "its own", "Hugging Face Hub: photos and masks in columns"))
    say_table(("name", "classes", "data set"), rows)
    for title, tree in folders.items():
        say_lines("\n  ".join([f"{title}:", *tree]))
    say("Classes as `recoseg learn` takes them: recoseg datasets NAME")
