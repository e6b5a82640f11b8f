"""Options that several sub-commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")]
Precision = Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")]
PresetName = Annotated[
    str | None,
    typer.Option("--preset", help="lite, paper or paper-light; see `recoseg encoders`."),
]
Retrieval = Annotated[
    str | None,
    typer.Option(help="Retrieval encoder, NAME or NAME=WEIGHTS, instead of the preset's."),
]
Saliency = Annotated[str | None, typer.Option(help="Saliency encoder, likewise.")]
Phi = Annotated[str | None, typer.Option(help="Dense image encoder, likewise.")]
Prompts = Annotated[
    str | None,
    typer.Option(help="reco85, short5, single, none, or a file of templates with {}."),
]
SkipDuplicates = Annotated[
    float | None,
    typer.Option(
        min=0.01, max=1, help="Leave out photos whose cosine to a better one is above this; 0.95."
    ),
]
