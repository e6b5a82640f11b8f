"""`recoseg pseudo-label`: write the masks of a bank or a trained model as a training set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import (
    Background,
    BatchSize,
    Decoder,
    DecoderWeight,
    Exclude,
    FusionForm,
    Memory,
    MemoryWeight,
    MinArea,
    OtherRecipe,
    Overwrite,
    Phi,
    PhiWeight,
    PhotoWeight,
    Precision,
    Refine,
    RefineSteps,
    RegionCacheFolder,
    Regions,
    Resize,
    Resume,
    Saliency,
    Temperature,
    TextWeight,
    Threshold,
    Vote,
    Window,
    WindowStep,
    names_in,
)
from recoseg.cli.output import refuse_nothing, say, say_lines
from recoseg.storage.counts import count_of


def pseudo_label(
    bank: Annotated[
        Path,
        typer.Argument(
            help="Concept bank, trained model, or folder of a training run; or its address on the "
            "Hub, hf:OWNER/NAME[@REVISION]."
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(help="Photos: files, folders, text files of paths, tar shards or globs."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    min_confidence: Annotated[
        float | None,
        typer.Option(help="Ignore pixels with a lower confidence (0 to 1) in training."),
    ] = None,
    quantile: Annotated[
        float | None,
        typer.Option(
            help="Ignore at most this fraction of the pixels of each class, starting with the "
            "least confident."
        ),
    ] = None,
    confidence: Annotated[
        bool,
        typer.Option("--confidence", help="Write confidence maps even if no pixel is ignored."),
    ] = False,
    exclude: Exclude = None,
    recipe: OtherRecipe = None,
    fusion: FusionForm = None,
    phi_weight: PhiWeight = None,
    text_weight: TextWeight = None,
    memory_weight: MemoryWeight = None,
    photo_weight: PhotoWeight = None,
    decoder_weight: DecoderWeight = None,
    resize: Resize = None,
    window: Window = None,
    window_step: WindowStep = None,
    threshold: Threshold = None,
    background: Background = "",
    refine: Refine = "none",
    temperature: Temperature = None,
    refine_steps: RefineSteps = None,
    regions: Regions = None,
    vote: Vote = None,
    region_cache: RegionCacheFolder = None,
    memory: Memory = None,
    decoder: Decoder = None,
    min_area: MinArea = None,
    ignore_background: Annotated[
        bool,
        typer.Option(
            "--ignore-background",
            help="Ignore background in training. By default background, as made by --threshold or "
            "--background, is a class that the model learns.",
        ),
    ] = False,
    overlays: Annotated[bool, typer.Option(help="Write overlays with a legend.")] = False,
    resume: Resume = False,
    overwrite: Overwrite = False,
    batch_size: BatchSize = 8,
    saliency: Saliency = None,
    phi: Phi = None,
    device: Annotated[
        str,
        typer.Option(
            help="Device: auto, cpu, cuda, cuda:N or mps. Comma-separated devices are used in "
            "parallel."
        ),
    ] = "auto",
    precision: Precision = "auto",
) -> None:
    """Write pseudo-labels of photos, to train a model on."""
    from recoseg.pipeline.pseudo_label import pseudo_label as run

    found = run(
        bank,
        images,
        out,
        min_confidence=min_confidence,
        quantile=quantile,
        confidence=confidence,
        ignore_background=ignore_background,
        overlays=overlays,
        resume=resume,
        overwrite=overwrite,
        devices=names_in(device),
        batch_size=batch_size,
        progress=None,
        exclude=exclude or (),
        recipe=recipe,
        fusion=fusion,
        phi_weights=phi_weight or None,
        text_weight=text_weight,
        memory_weight=memory_weight,
        photo_weight=photo_weight,
        decoder_weight=decoder_weight,
        resize=resize,
        window=window,
        window_step=window_step,
        threshold=threshold,
        background=names_in(background),
        refine=refine,
        temperature=temperature,
        refine_steps=refine_steps,
        regions=regions,
        vote=vote,
        region_cache=region_cache,
        memory=memory,
        decoder=decoder,
        min_area=min_area,
        saliency=saliency,
        phi=phi or None,
        precision=precision,
    )
    for path, reason in found.failures.items():
        say(f"Left out: {path}: {reason}", err=True)
    refuse_nothing(len(found.photos), len(found.photos) + len(found.failures), "labelled")
    say_lines(found.texts()["balance.txt"].rstrip("\n"))
    say(f"Pseudo-labels of {count_of(len(found.photos), 'photos')}: {out / 'labels'}")
