"""The command line: one command per stage, each of which calls one function of the library."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from recoseg import __version__
from recoseg.allocator import keep_freed_memory
from recoseg.cli.ablate import ablate
from recoseg.cli.bank import forget, inspect
from recoseg.cli.datasets import datasets
from recoseg.cli.demo import demo
from recoseg.cli.encoders import encoders
from recoseg.cli.evaluate import evaluate
from recoseg.cli.export import export
from recoseg.cli.index import index
from recoseg.cli.learn import learn
from recoseg.cli.pseudo_label import pseudo_label
from recoseg.cli.remember import remember
from recoseg.cli.retrieve import retrieve
from recoseg.cli.segment import segment
from recoseg.cli.train import train
from recoseg.errors import RecosegError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"recoseg {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Segment photos into classes that are given by name only, without labelled photos.

    Usual order: `index` photos, `learn` classes from the index, `segment` photos. See also `recoseg
    demo`, and `recoseg COMMAND --help` for the options of a command.
    """


for command in (
    index,
    retrieve,
    learn,
    remember,
    inspect,
    forget,
    segment,
    pseudo_label,
    train,
    export,
    evaluate,
    ablate,
    datasets,
    encoders,
    demo,
):
    app.command()(command)


def main() -> None:
    """Run the command line; errors of the package are printed without a traceback."""
    keep_freed_memory()
    try:
        app()
    except RecosegError as error:
        sys.exit(f"Error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
