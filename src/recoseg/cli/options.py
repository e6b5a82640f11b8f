"""Options that several commands share, and reading their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Device = Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:N or mps.")]
Precision = Annotated[
    str, typer.Option(help="Precision of the encoders: auto, fp32, bf16 or fp16.")
]
PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="Choice of encoders: lite, paper or paper-light; see `recoseg encoders`. By default "
        "that of the index.",
    ),
]
Retrieval = Annotated[
    str | None,
    typer.Option(
        help="Retrieval encoder, as NAME or NAME=WEIGHTS. By default that of the preset or index."
    ),
]
Saliency = Annotated[
    str | None,
    typer.Option(
        help="Dense text encoder, as NAME or NAME=WEIGHTS. By default that of the preset or bank."
    ),
]
Phi = Annotated[
    list[str] | None,
    typer.Option(
        help="Dense image encoder, as NAME or NAME=WEIGHTS; give the option again for a second "
        "one. By default that of the preset or bank."
    ),
]
Prompts = Annotated[
    str | None,
    typer.Option(
        help="Prompt set: reco85, short5, single, none, or a file with one template per line, {} "
        "where the name goes. By default the encoder's own."
    ),
]
SkipDuplicates = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        max=1,
        help="Leave out photos whose cosine to a better one is above this, such as 0.95.",
    ),
]
SelectionFile = Annotated[
    Path | None,
    typer.Option("--selection", help="File that says which photos of the index are left out."),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder where features of photos are kept for the next run."),
]
CacheSize = Annotated[
    float,
    typer.Option(
        min=0.001,
        help="Maximum cache size in GB; least recently used entries are removed first.",
    ),
]
FusionForm = Annotated[
    str | None,
    typer.Option(
        "--fusion",
        help="How visual and text scores are combined: product, sum, visual or text. By default "
        "as the bank says.",
    ),
]
Resize = Annotated[
    int | None,
    typer.Option(
        help="Short side of the encoders' input in pixels; 0 for the photo's own size. By default "
        "as the bank or model says."
    ),
]
Window = Annotated[
    int | None, typer.Option(help="Side of sliding windows over larger photos, in pixels.")
]
WindowStep = Annotated[
    int | None,
    typer.Option(help="Step of the sliding windows in pixels. By default half a window."),
]
Threshold = Annotated[
    float | None, typer.Option(help="Pixels whose best score is lower become background.")
]
Background = Annotated[
    str,
    typer.Option(
        help="Comma-separated classes that become background; `context` for all context classes."
    ),
]
Refine = Annotated[
    str,
    typer.Option(help="Refinement of the masks: none, pamr, or crf (needs the extra `crf`)."),
]
RefineSteps = Annotated[
    int | None,
    typer.Option(min=0, help="Steps of the refinement; more reach further. By default 10."),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        help="Scores are divided by this before refinement. By default as the bank says; the "
        "paper uses 1."
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Photos per forward pass.")]
Resume = Annotated[bool, typer.Option(help="Continue an interrupted run in the output folder.")]
DatasetName = Annotated[
    str,
    typer.Option(
        help="Labelled data set; see `recoseg datasets`. `folder` reads images/ and masks/."
    ),
]
Root = Annotated[Path | None, typer.Option(help="Folder that holds the data set.")]
Split = Annotated[
    str | None, typer.Option(help="Dataset split. By default the usual one, most often val.")
]
Ids = Annotated[
    Path | None, typer.Option(help="File with the names of the photos to use, one per line.")
]
ProtocolName = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="How photos are prepared and scored: paper, tcl (the community's) or native.",
    ),
]
Quirks = Annotated[
    bool,
    typer.Option(
        help="Repeat the errors of the published evaluation: photos resized by the nearest pixel, "
        "and its assignment of COCO-Stuff classes to groups."
    ),
]


def names_in(text: str) -> list[str]:
    """The names in a comma-separated list."""
    return [name.strip() for name in text.split(",") if name.strip()]
