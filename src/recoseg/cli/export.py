"""`recoseg export`: a trained model for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="Trained model, or the folder of its run.")],
    onnx: Annotated[bool, typer.Option("--onnx", help="As ONNX.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="File to write; by default model.onnx beside the model.")
    ] = None,
) -> None:
    """Write a trained model as ONNX, for photos of any size, and check it."""
    from recoseg.errors import RecosegError
    from recoseg.training.export import export_onnx
    from recoseg.training.model import TrainedModel, model_file

    if not onnx:
        raise RecosegError("Name the form to write: --onnx.")
    path = out or model_file(run).with_suffix(".onnx")
    difference = export_onnx(TrainedModel.load(run), path)
    typer.echo(f"ONNX: {path}; its scores are the model's to {difference:.1g}")
