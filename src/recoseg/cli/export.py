"""`recoseg export`: export a trained model for use in other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.output import say


def export(
    run: Annotated[Path, typer.Argument(help="Trained model, or the folder of its run.")],
    onnx: Annotated[
        bool,
        typer.Option("--onnx", help="Export to ONNX. Required: it is the only format at present."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write. By default model.onnx in the folder of the model."),
    ] = None,
) -> None:
    """Export a trained model to ONNX and check it.

    The exported model takes photos of any size. Its scores are compared with those of the
    original.
    """
    from recoseg.errors import OptionError

    if not onnx:
        raise OptionError("Expected the format to export to: --onnx.")
    from recoseg.pipeline.train import export_onnx

    path, difference = export_onnx(run, out)
    say(f"ONNX: {path}; its scores differ from the model's by {difference:.1g} at most")
