"""Options that several commands share, and what reads their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.storage.listed import names_in as names_in

Device = Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:N or mps.")]
Precision = Annotated[
    str, typer.Option(help="Precision of the encoders: auto, fp32, bf16 or fp16.")
]
ClassList = Annotated[
    str | None,
    typer.Option(
        "--classes",
        help="File with one class per line: a name, or 'NAME: WORD; WORD; -WORD' with the words to "
        "search for and, after a -, words to avoid. Or several classes as 'dog, cat'. Or the name "
        "of a data set, such as cityscapes27; see `recoseg datasets`.",
    ),
]
PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="Choice of encoders: lite, open, best, paper or paper-light; see "
        "`recoseg encoders`. By default that of the index.",
    ),
]
OtherRecipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Recipe whose settings replace the bank's for segmentation: paper (every pixel "
        "by itself), or regions (superpixels vote). By default as the bank says.",
    ),
]
Recipe = Annotated[
    str | None,
    typer.Option(
        help="Recipe: paper (as published), or regions (classes are learnt from regions, and "
        "superpixels vote). By default the one that suits the encoders."
    ),
]
Retrieval = Annotated[
    str | None,
    typer.Option(
        help="Retrieval encoder, as NAME or NAME=WEIGHTS. By default that of the index or preset."
    ),
]
Saliency = Annotated[
    str | None,
    typer.Option(
        help="Dense text encoder, as NAME or NAME=WEIGHTS. By default that of the bank or preset."
    ),
]
Phi = Annotated[
    list[str] | None,
    typer.Option(
        help="Dense image encoder, as NAME or NAME=WEIGHTS; repeat the option for several "
        "encoders. By default that of the bank or preset."
    ),
]
Prompts = Annotated[
    str | None,
    typer.Option(
        help="Prompt set: reco85, short5, single, none, or a file with one template per line, in "
        "which {} marks the place of the class name. By default that of the encoder."
    ),
]
SkipDuplicates = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        max=1,
        help="Leave out near-duplicates: photos whose cosine with a better photo is above this, "
        "such as 0.95.",
    ),
]
SelectionFile = Annotated[
    Path | None,
    typer.Option("--selection", help="Selection file that names the photos of the index to omit."),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder where features of photos are kept for later runs."),
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
    int | None,
    typer.Option(
        help="Side of sliding windows over larger photos, in pixels. By default there are no "
        "windows."
    ),
]
WindowStep = Annotated[
    int | None,
    typer.Option(help="Step of the sliding windows in pixels. By default half a window."),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="Pixels whose best score is lower become background. By default every pixel gets a "
        "class."
    ),
]
Background = Annotated[
    str,
    typer.Option(
        help="Comma-separated classes that become background, a name with a comma in double "
        "quotes; `context` for all context classes."
    ),
]
Refine = Annotated[
    str,
    typer.Option(
        help="Refinement of the masks: along edges by pamr or crf (needs the extra `crf`), between "
        "alike patches by lposs, and pixels by lposs+; or none."
    ),
]
RefineSteps = Annotated[
    int | None,
    typer.Option(
        min=0, help="Steps of the refinement; with more steps it reaches further. By default 10."
    ),
]
PhiWeight = Annotated[
    list[float] | None,
    typer.Option(
        help="Factor on the scores by phi; once for each phi, in the order of the bank. By default "
        "as the bank says."
    ),
]
TextWeight = Annotated[
    float | None,
    typer.Option(help="Weight of the text scores in a sum. By default as the bank says."),
]
MemoryWeight = Annotated[
    float | None,
    typer.Option(help="Weight of the scores by a memory. By default as the bank says."),
]
PhotoWeight = Annotated[
    float | None,
    typer.Option(
        help="Weight of the scores of the whole photo, by the encoder of the index: classes that "
        "the photo fits as a whole gain at all its pixels. By default as the bank says, most often "
        "0."
    ),
]
Regions = Annotated[
    str | None,
    typer.Option(
        help="Divide each photo into regions that vote: superpixels, slic, clusters, sam2, "
        "files:FOLDER, or none for no vote. By default as the bank says."
    ),
]
Vote = Annotated[
    str | None,
    typer.Option(
        help="What regions vote on: mean (the mean of their scores; the default) or mode (their "
        "most frequent class)."
    ),
]
RegionCacheFolder = Annotated[
    Path | None,
    typer.Option("--region-cache", help="Folder where regions are kept for later runs."),
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Region memory whose scores are added: a folder that `recoseg remember` wrote, or its "
        "URL."
    ),
]
Names = Annotated[
    str | None,
    typer.Option(
        help="How the names of a class count: cosine (the best one's; the default), or softmax "
        "(the best one's probability among all names of all classes)."
    ),
]
NamesTemperature = Annotated[
    float | None,
    typer.Option(help="Factor on the scores before the softmax over names. By default 40."),
]
Presence = Annotated[
    float | None,
    typer.Option(
        help="Classes whose best score in a photo is lower are left out of it. By default none are."
    ),
]
AreaThreshold = Annotated[
    float | None,
    typer.Option(
        help="Classes that win at most this share of a photo's pixels other than background are "
        "left out of it, such as 0.1. By default none are."
    ),
]
MinArea = Annotated[
    float | None,
    typer.Option(
        help="Parts of a mask with fewer pixels (or, below 1, with a smaller share of the photo) "
        "take the labels around them, and so do holes. By default 0.0003 where edges are refined, "
        "and 0 elsewhere and by the recipe paper."
    ),
]
Ambiguity = Annotated[
    float | None,
    typer.Option(
        help="Pixels whose two best classes are too weak or too close become background: where "
        "s1 sqrt(s1 - s2) of their scores is lower."
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        help="Scores are divided by this before refinement. By default as the bank says; the "
        "paper uses 1."
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(
        help="Leave out photos and folders whose path relative to the source matches this pattern, "
        "such as '*/thumbs/*'; repeat the option for several patterns."
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Photos per forward pass.")]
Resume = Annotated[bool, typer.Option(help="Continue an interrupted run in the output folder.")]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier run in the output folder.")
]
Root = Annotated[Path | None, typer.Option(help="Folder that holds the data set.")]
Split = Annotated[
    str | None, typer.Option(help="Dataset split. By default that of the data set, usually val.")
]
Ids = Annotated[
    Path | None, typer.Option(help="File with the names of the photos to use, one per line.")
]
ProtocolName = Annotated[
    str,
    typer.Option(
        "--protocol",
        help="How photos are prepared and scored: paper, tcl (common in later papers), "
        "proxyclip (larger windows) or native (as `recoseg segment` treats photos).",
    ),
]
Quirks = Annotated[
    bool,
    typer.Option(
        help="Repeat the errors of the published evaluation: nearest-neighbour resizing of photos, "
        "and its assignment of COCO-Stuff classes to groups."
    ),
]
