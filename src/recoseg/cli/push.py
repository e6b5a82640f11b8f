"""`recoseg push`: put a bank, a model or a region memory on the Hugging Face Hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoseg.cli.output import say, say_lines
from recoseg.storage.counts import count_of

if TYPE_CHECKING:
    from recoseg.pipeline.push import PushReport


def push(
    source: Annotated[
        str,
        typer.Argument(
            help="Concept bank, trained model or folder of a training run, or folder of a region "
            "memory."
        ),
    ],
    repo: Annotated[
        str, typer.Argument(help="Repository, OWNER/NAME; it is created if it does not exist.")
    ],
    private: Annotated[
        bool, typer.Option("--private", help="Make a new repository private.")
    ] = False,
    branch: Annotated[
        str | None,
        typer.Option(
            "--branch",
            "--revision",
            help="Branch to write to; it is created if it does not exist. By default the main one.",
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            help="Folder whose pictures go along and are shown in the card, such as that of "
            "`recoseg learn --figures`."
        ),
    ] = None,
    keep_paths: Annotated[
        bool,
        typer.Option(
            "--keep-paths",
            help="Also upload the paths of photos, weights and memories that are recorded. By "
            "default they are left out.",
        ),
    ] = False,
    keep_card: Annotated[
        bool,
        typer.Option("--keep-card", help="Leave the card (README.md) that the repository has."),
    ] = False,
    message: Annotated[str, typer.Option(help="Message of the commit.")] = "",
    dry_run: Annotated[
        Path | None,
        typer.Option(
            help="New folder for what would be uploaded. The card is printed, and nothing is "
            "uploaded."
        ),
    ] = None,
) -> None:
    """Put a concept bank, a trained model or a region memory on the Hugging Face Hub.

    Every command then takes its address, hf:OWNER/NAME, in the place of a file. A model card is
    written. Log in before by `hf auth login`.
    """
    from recoseg.pipeline.push import push as run

    report = run(
        source,
        repo,
        private=private,
        branch=branch,
        figures=figures,
        keep_paths=keep_paths,
        keep_card=keep_card,
        message=message,
        dry_run=dry_run,
        progress=None,
    )
    if dry_run is not None:
        say_lines(report.card)
    _say_paths(report)
    if dry_run is not None:
        say(f"Nothing was uploaded; {count_of(len(report.files), 'files')} are in {dry_run}")
        return
    if not report.is_new:
        say("The repository holds the same already; nothing was changed.", err=True)
    say(f"On the Hub: {report.address} ({report.url})")


def _say_paths(report: PushReport) -> None:
    """Say which paths of this machine are uploaded, or left out."""
    for what, paths in report.paths.items():
        named = f"{what}, {len(paths):,} in all, such as {paths[0]}"
        if report.kept:
            say(f"Paths of this machine that everybody can read there: {named}", err=True)
        else:
            say(f"Left out: paths of this machine: {named}", err=True)
