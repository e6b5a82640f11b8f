"""`recoseg verify`: check stored files against the checksums recorded in them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.output import say


def verify(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Indexes, concept banks, trained models, folders of masks or of pseudo-labels; or "
            "addresses on the Hub."
        ),
    ],
) -> None:
    """Check indexes, banks, models and masks for damage. All their files are read in full.

    The exit code is 1 if anything is damaged or not recognised.
    """
    from recoseg.errors import RecosegError
    from recoseg.pipeline.verify import verify as run

    damaged = False
    for path in paths:
        try:
            found = run(path, progress=None)
        except RecosegError as error:
            say(f"{path}: {error}", err=True)
            damaged = True
            continue
        for problem in found.problems:
            say(f"{path}: {problem}", err=True)
        damaged |= bool(found.problems)
        without = f", without a recorded checksum: {found.unchecked:,}" if found.unchecked else ""
        verdict = f"problems: {len(found.problems):,}" if found.problems else "no problem found"
        say(f"{path}: {found.what}, files checked: {found.checked:,}{without}; {verdict}")
    if damaged:
        raise typer.Exit(1)
