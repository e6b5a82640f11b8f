"""`recoseg segment`: write masks, overlays and one JSON line per photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.convert import FORMAT_HELP
from recoseg.cli.options import (
    Ambiguity,
    AreaThreshold,
    Background,
    BatchSize,
    Decoder,
    DecoderWeight,
    Device,
    Exclude,
    FusionForm,
    Memory,
    MemoryWeight,
    MinArea,
    Names,
    NamesTemperature,
    OtherRecipe,
    Overwrite,
    Phi,
    PhiWeight,
    PhotoWeight,
    Precision,
    Presence,
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
    separated,
)
from recoseg.cli.output import refuse_nothing, say
from recoseg.storage.counts import count_of


def segment(
    bank: Annotated[
        Path, typer.Argument(help="Concept bank, trained model, or folder of a training run.")
    ],
    images: Annotated[
        list[str],
        typer.Argument(help="Photos: files, folders, text files of paths, tar shards or globs."),
    ],
    out: Annotated[Path, typer.Option(help="Folder to write to; it is created.")],
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
    names: Names = None,
    names_temperature: NamesTemperature = None,
    presence: Presence = None,
    area_threshold: AreaThreshold = None,
    min_area: MinArea = None,
    ambiguity: Ambiguity = None,
    overlays: Annotated[bool, typer.Option(help="Write overlays with a legend.")] = True,
    scores: Annotated[bool, typer.Option(help="Write score maps (large files).")] = False,
    format: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Write the masks for another tool, too, below OUT/formats: {FORMAT_HELP} "
            "`recoseg convert` has more options."
        ),
    ] = None,
    resume: Resume = False,
    overwrite: Overwrite = False,
    batch_size: BatchSize = 8,
    saliency: Saliency = None,
    phi: Phi = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Segment photos with a concept bank or a trained model.

    The folder gets a label map, an overlay and a line of JSON for each photo.
    """
    from recoseg.pipeline.segment import segment as run

    report = run(
        bank,
        images,
        out,
        overlays=overlays,
        scores=scores,
        formats=separated(format or ()),
        resume=resume,
        overwrite=overwrite,
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
        names=names,
        names_temperature=names_temperature,
        presence=presence,
        area_threshold=area_threshold,
        min_area=min_area,
        ambiguity=ambiguity,
        batch_size=batch_size,
        saliency=saliency,
        phi=phi or None,
        device=device,
        precision=precision,
    )
    for path, reason in report.failures.items():
        say(f"Left out: {path}: {reason}", err=True)
    done = report.photos - len(report.failures)
    refuse_nothing(done, report.photos, "segmented")
    say(f"Masks of {count_of(done, 'photos')}: {out}")
    if report.formats is not None:
        for note in report.formats.notes:
            say(f"Note: {note}", err=True)
        for name, folder in report.formats.folders.items():
            say(f"{name}: {folder}")
