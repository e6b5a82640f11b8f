"""`recoseg export`: a trained model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="Trained model, or the folder of its run.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="Write ONNX.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write. By default model.onnx beside the model."),
    ] = None,
) -> None:
    """Write a trained model as ONNX, for photos of any size, and check it."""
    from recoseg.errors import RecosegError

    if not onnx:
        raise RecosegError("Name the format to write: --onnx.")
    from recoseg.pipeline.train import export_onnx

    path, difference = export_onnx(run, out)
    typer.echo(f"ONNX: {path}; its scores differ from the model's by {difference:.1g} at most")
