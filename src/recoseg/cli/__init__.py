"""The command line: one command per stage, each of which calls one function of the library."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from recoseg import __version__
from recoseg.allocator import keep_freed_memory
from recoseg.cli.ablate import ablate
from recoseg.cli.bank import forget, inspect
from recoseg.cli.collector import collect_after_imports, end_without_collecting
from recoseg.cli.compare import compare
from recoseg.cli.convert import convert
from recoseg.cli.curate import curate
from recoseg.cli.datasets import datasets
from recoseg.cli.demo import demo
from recoseg.cli.doctor import doctor, fetch
from recoseg.cli.encoders import encoders
from recoseg.cli.evaluate import evaluate
from recoseg.cli.export import export
from recoseg.cli.failures import end, give_up_streams, guarded, prepare_streams
from recoseg.cli.index import index
from recoseg.cli.learn import learn
from recoseg.cli.output import say
from recoseg.cli.pseudo_label import pseudo_label
from recoseg.cli.push import push
from recoseg.cli.remember import remember
from recoseg.cli.retrieve import retrieve
from recoseg.cli.segment import segment
from recoseg.cli.serve import serve
from recoseg.cli.train import train
from recoseg.cli.verify import verify
from recoseg.cores import share_cores
from recoseg.errors import OptionError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _check_arguments(arguments: list[str]) -> None:
    """Refuse empty arguments, which come from variables without a value: as a path, it is here.

    Raises:
        RecosegError: One is empty.
    """
    before = ""
    for argument in arguments:
        if not argument or (argument.startswith("--") and argument.endswith("=")):
            option = argument.rstrip("=") or (before if before.startswith("-") else "")
            what = f"The value of {option}" if option else "An argument"
            raise OptionError(
                f"{what} is empty. Expected a name, a path (. for the current folder) or another "
                "value."
            )
        before = argument


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"recoseg {__version__}")
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

    Exit codes: 0 done; 1 refused, failed, or nothing could be used; 2 wrong usage; 130 interrupted.
    """


for command in (
    index,
    curate,
    retrieve,
    learn,
    remember,
    inspect,
    forget,
    segment,
    convert,
    serve,
    pseudo_label,
    train,
    export,
    push,
    evaluate,
    compare,
    ablate,
    verify,
    datasets,
    encoders,
    fetch,
    doctor,
    demo,
):
    app.command()(guarded(command))


def main() -> None:
    """Run the command line and end the process; see `recoseg.cli.failures` for the exit codes."""
    keep_freed_memory()
    collect_after_imports()
    share_cores()
    prepare_streams()
    try:
        _check_arguments(sys.argv[1:])
        code = app(standalone_mode=False) or 0
    except (Exception, KeyboardInterrupt) as error:  # wrong usage, or before a command begins
        code = end(error)
    give_up_streams()
    end_without_collecting()
    sys.exit(code)
