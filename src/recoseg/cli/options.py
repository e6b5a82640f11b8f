"""Options that several sub-commands share."""

from __future__ import annotations

from pathlib import Path
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
CacheFolder = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder where features of photos are kept for the next bank."),
]
CacheSize = Annotated[
    float, typer.Option(min=0.001, help="Most of it, GB; the least recently used go first.")
]
FusionForm = Annotated[
    str | None,
    typer.Option("--fusion", help="product, sum, visual or text; by default the bank's."),
]
Threshold = Annotated[
    float | None, typer.Option(help="Pixels whose best score is lower become background.")
]
Background = Annotated[
    str, typer.Option(help="Comma-separated classes or context classes that become background.")
]
Refine = Annotated[str, typer.Option(help="none, pamr, or crf (extra `crf`).")]
RefineSteps = Annotated[
    int | None, typer.Option(min=0, help="Steps of the refinement; 10. More reach further.")
]
Temperature = Annotated[
    float | None,
    typer.Option(help="Divides scores before refinement; by default the bank's; 1 is published."),
]
DatasetName = Annotated[
    str, typer.Option(help="Data set; see `recoseg datasets`. `folder` for images/ and masks/.")
]
Root = Annotated[Path | None, typer.Option(help="Folder that holds the data set.")]
Split = Annotated[str | None, typer.Option(help="Part of it; most often val.")]
Ids = Annotated[Path | None, typer.Option(help="File of the photos to keep, one name per line.")]
ProtocolName = Annotated[
    str, typer.Option("--protocol", help="paper, tcl (the community's), or native.")
]
Quirks = Annotated[
    bool,
    typer.Option(
        help="As published, with its errors: photos by the nearest pixel, COCO-Stuff's merge."
    ),
]
