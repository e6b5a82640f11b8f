"""Options that several commands share, and what reads their values."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.storage.listed import names_in as names_in
from recoseg.storage.listed import separated as separated

Device = Annotated[str, typer.Option(help="Device: auto, cpu, cuda, cuda:N or mps.")]
Precision = Annotated[
    str, typer.Option(help="Precision of the encoders: auto, fp32, bf16 or fp16.")
]
ClassList = Annotated[
    str | None,
    typer.Option(
        "--classes",
        help="File with one class per line: a name, or 'NAME: WORD; WORD; -WORD' with the words to "
        "search for and, after a -, words to avoid. Or the classes themselves, with commas "
        "between them: 'dog, cat'. Or the name of a data set, such as cityscapes27; see `recoseg "
        "datasets`.",
    ),
]
PresetName = Annotated[
    str | None,
    typer.Option(
        "--preset",
        help="Choice of encoders: lite, open, best, sam3, paper or paper-light; see "
        "`recoseg encoders`. By default that of the index.",
    ),
]
OtherRecipe = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Recipe whose settings replace the bank's for segmentation: paper (each pixel by "
        "itself), or regions (superpixels vote). By default that of the bank.",
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
        help="Retrieval encoder, as NAME or NAME=WEIGHTS, or MODULE:NAME for one of your own. By "
        "default that of the index or preset."
    ),
]
Saliency = Annotated[
    str | None,
    typer.Option(
        help="Dense text encoder, as NAME or NAME=WEIGHTS, or MODULE:NAME for one of your own. By "
        "default that of the bank or preset."
    ),
]
Phi = Annotated[
    list[str] | None,
    typer.Option(
        help="Dense image encoder, as NAME or NAME=WEIGHTS, or MODULE:NAME for one of your own; "
        "repeat the option for several encoders. By default that of the bank or preset."
    ),
]
Prompts = Annotated[
    str | None,
    typer.Option(
        help="Templates around class names: reco85, short5, single, none, or a file with one "
        "template per line, in which {} stands for the name. By default those of the encoder."
    ),
]
SkipDuplicates = Annotated[
    float | None,
    typer.Option(
        min=0.01,
        max=1,
        help="Leave out near-duplicates: photos whose cosine with a better photo is above this "
        "number, such as 0.95. By default all are kept.",
    ),
]
SelectionFile = Annotated[
    Path | None,
    typer.Option(
        "--selection",
        help="Photos of the index to leave out: a selection file, or the folder of `recoseg "
        "curate`.",
    ),
]
CacheFolder = Annotated[
    Path | None,
    typer.Option(
        "--cache",
        help="Folder where features of photos are kept for later runs. By default they are kept in "
        "the user's cache folder for seven days.",
    ),
]
CacheSize = Annotated[
    float,
    typer.Option(
        min=0.001,
        help="Maximum size of the cache, GB; the least recently used entries are removed first.",
    ),
]
FusionForm = Annotated[
    str | None,
    typer.Option(
        "--fusion",
        help="How visual scores (by learnt references) and text scores (by words) are combined: "
        "product or sum, or visual or text for one of them alone. By default as the bank says; "
        "with --decoder the decoder's scores alone.",
    ),
]
Resize = Annotated[
    int | None,
    typer.Option(
        help="Short side to which photos are resized for the encoders, pixels; 0 keeps their own "
        "size. Masks always have the photo's size. By default that of the bank or model, usually "
        "320."
    ),
]
Window = Annotated[
    int | None,
    typer.Option(
        help="Side of sliding windows over photos that are larger after resizing, pixels. By "
        "default there are no windows."
    ),
]
WindowStep = Annotated[
    int | None,
    typer.Option(help="Step of the sliding windows, pixels. By default half a window."),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="Pixels whose best score is below this number become background; the scale of scores "
        "depends on the fusion. By default every pixel gets a class; only where SAM 3 alone "
        "segments by prompts that the bank has learnt, the default is 0.5."
    ),
]
Background = Annotated[
    str,
    typer.Option(
        help="Classes whose pixels become background, with commas between them (put a name that "
        "holds a comma in double quotes); `context` stands for all context classes."
    ),
]
Refine = Annotated[
    str,
    typer.Option(
        help="Refinement of the masks: pamr or crf (needs the extra `crf`) along the edges in the "
        "photo, lposs between patches that look alike, lposs+ also between pixels that do, or none."
    ),
]
RefineSteps = Annotated[
    int | None,
    typer.Option(min=0, help="Steps of the refinement; more steps reach further. By default 10."),
]
PhiWeight = Annotated[
    list[float] | None,
    typer.Option(
        help="Weight of the visual scores of a phi; give the option once for each phi, in the "
        "order of the bank. By default as the bank says."
    ),
]
TextWeight = Annotated[
    float | None,
    typer.Option(
        help="Weight of the text scores with the fusion sum. By default as the bank says."
    ),
]
MemoryWeight = Annotated[
    float | None,
    typer.Option(
        help="Weight of the scores by the region memory that --memory names. By default as the "
        "bank says."
    ),
]
PhotoWeight = Annotated[
    float | None,
    typer.Option(
        help="Weight of a score of the whole photo for each class, by the retrieval encoder, which "
        "is added at all its pixels; not with the fusion product. By default as the bank says, "
        "usually 0."
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
        help="How regions vote: mean (the default) gives each pixel the mean scores of its region, "
        "mode the most frequent class in it."
    ),
]
RegionCacheFolder = Annotated[
    Path | None,
    typer.Option("--region-cache", help="Folder where regions are kept for later runs."),
]
Memory = Annotated[
    str | None,
    typer.Option(
        help="Region memory whose scores are added: a folder that `recoseg remember` wrote, its "
        "URL, or its address on the Hub, hf:OWNER/NAME."
    ),
]
Names = Annotated[
    str | None,
    typer.Option(
        help="The text score of a class with several names: cosine (the best name's cosine; the "
        "default), or softmax (the best name's probability among all names of all classes)."
    ),
]
NamesTemperature = Annotated[
    float | None,
    typer.Option(help="Factor on the scores before the softmax over names. By default 40."),
]
Presence = Annotated[
    float | None,
    typer.Option(
        help="A class whose best score in a photo is below this number gets no pixel of it. By "
        "default there is no such limit."
    ),
]
AreaThreshold = Annotated[
    float | None,
    typer.Option(
        help="A class that would get at most this share of the pixels that are not background, "
        "such as 0.1, gets none of the photo. By default there is no such limit."
    ),
]
Decoder = Annotated[
    str | None,
    typer.Option(
        "--decoder",
        help="Decoder that finds the words of the classes in each photo: sam3, sam3=FOLDER with "
        "the files of the model, or none. By default that of the bank.",
    ),
]
DecoderWeight = Annotated[
    float | None,
    typer.Option(help="Weight of the decoder's scores where the fusion adds them. By default 1."),
]
Instances = Annotated[
    str | None,
    typer.Option(
        help="What the instances of a class are: parts (its connected parts; the default), decoder "
        "(those that the decoder finds; the default with --decoder), or regions (the regions that "
        "vote, such as those of sam2)."
    ),
]
Stuff = Annotated[
    str,
    typer.Option(
        help="Classes that are stuff, not things that can be counted, such as sky and grass, with "
        "commas between them; or a data set whose classes of stuff are meant, such as "
        "cocostuff171. In panoptic each is one segment."
    ),
]
MinArea = Annotated[
    float | None,
    typer.Option(
        help="Parts of a mask with fewer pixels than this (or, below 1, with a smaller share of "
        "the photo), and holes, take the labels around them; the largest part is always kept. By "
        "default 0.0003 with refinement along edges, and 0 without it or with the recipe paper."
    ),
]
Ambiguity = Annotated[
    float | None,
    typer.Option(
        help="Pixels become background if s1 x sqrt(s1 - s2) is below this number, where s1 and s2 "
        "are the scores of their two best classes: the best is low, or both are nearly equal. By "
        "default there is no such limit."
    ),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        help="Scores are divided by this number before refinement; less than 1 sharpens them. By "
        "default as the bank says; the paper uses 1."
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
    str | None, typer.Option(help="Split of the data set. By default its own, usually val.")
]
Ids = Annotated[
    Path | None, typer.Option(help="File with the names of the photos to use, one per line.")
]
ExcludeNames = Annotated[
    list[str] | None,
    typer.Option(
        "--exclude",
        help="Leave out photos whose name in the data set matches this pattern, such as "
        "'thumbs/*'; names have no suffix. Repeat the option for several patterns.",
    ),
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
