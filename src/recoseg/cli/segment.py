"""`recoseg segment`: write masks, overlays and one JSON line per photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

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
    Instances,
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
    Stuff,
    Temperature,
    TextWeight,
    Threshold,
    Vote,
    Window,
    WindowStep,
    names_in,
    separated,
)
from recoseg.cli.output import refuse_nothing, refuse_unused, say
from recoseg.cli.video import segment_films
from recoseg.errors import OptionError
from recoseg.storage.counts import count_of


def segment(
    bank: Annotated[
        Path,
        typer.Argument(
            help="Concept bank, trained model, or folder of a training run; or its address on the "
            "Hub, hf:OWNER/NAME[@REVISION]."
        ),
    ],
    images: Annotated[
        list[str],
        typer.Argument(
            help="Photos: files, folders, text files of paths, tar shards or globs. With --video: "
            "films, or folders of their frames."
        ),
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
    instances: Instances = None,
    overlays: Annotated[
        bool,
        typer.Option(help="Write overlays with a legend; for films, a preview film in previews/."),
    ] = True,
    scores: Annotated[bool, typer.Option(help="Write score maps (large files).")] = False,
    format: Annotated[
        list[str] | None,
        typer.Option(
            help=f"Also write the masks for another tool, into OUT/formats: {FORMAT_HELP} "
            "`recoseg convert` has more options."
        ),
    ] = None,
    stuff: Stuff = "",
    report: Annotated[
        bool,
        typer.Option(
            "--report",
            help="Also write OUT/report/index.html: a page of all photos with their masks, to "
            "search, sort and compare. It needs no network.",
        ),
    ] = False,
    raster: Annotated[
        bool,
        typer.Option(
            "--raster",
            help="Segment all photos by windows at their own size, not only those that are too "
            "large otherwise. Masks are GeoTIFF files with the coordinates of the photos. Needs "
            "the extra `geo`.",
        ),
    ] = False,
    bands: Annotated[
        str,
        typer.Option(
            help="Red, green and blue bands of rasters, counted from 1, such as 4,3,2, or a single "
            "grey one; it implies --raster. By default as the file says, or else the first three."
        ),
    ] = "",
    video: Annotated[
        bool,
        typer.Option(
            "--video",
            help="Segment films, or folders of frames: key frames are segmented, and a tracker "
            "follows their instances through the other frames. Needs the extra `video`.",
        ),
    ] = False,
    tracker: Annotated[
        str | None,
        typer.Option(
            help="With --video: sam2 (the default), sam2-base-plus, sam2-small, sam2-tiny, sam3, "
            "NAME=FOLDER for a local copy, or none, which segments every frame."
        ),
    ] = None,
    key_every: Annotated[
        int | None,
        typer.Option(help="With --video: frames from one key frame to the next. By default 15."),
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
    options: dict[str, Any] = {
        "recipe": recipe,
        "fusion": fusion,
        "phi_weights": phi_weight or None,
        "text_weight": text_weight,
        "memory_weight": memory_weight,
        "photo_weight": photo_weight,
        "decoder_weight": decoder_weight,
        "resize": resize,
        "window": window,
        "window_step": window_step,
        "threshold": threshold,
        "background": names_in(background),
        "refine": refine,
        "temperature": temperature,
        "refine_steps": refine_steps,
        "regions": regions,
        "vote": vote,
        "region_cache": region_cache,
        "memory": memory,
        "decoder": decoder,
        "names": names,
        "names_temperature": names_temperature,
        "presence": presence,
        "area_threshold": area_threshold,
        "min_area": min_area,
        "ambiguity": ambiguity,
        "instances": instances,
        "batch_size": batch_size,
        "saliency": saliency,
        "phi": phi or None,
        "device": device,
        "precision": precision,
    }
    if video:
        alone = {
            "scores": scores or None,
            "format": format,
            "stuff": stuff or None,
            "report": report or None,
            "raster": raster or None,
            "bands": bands or None,
        }
        refuse_unused("with --video", alone)
        segment_films(
            bank,
            images,
            out,
            tracker=tracker,
            every=key_every,
            previews=overlays,
            resume=resume,
            overwrite=overwrite,
            exclude=exclude or (),
            **options,
        )
        return
    refuse_unused("without --video", {"tracker": tracker, "key-every": key_every})
    from recoseg.pipeline.segment import segment as run

    done = run(
        bank,
        images,
        out,
        overlays=overlays,
        scores=scores,
        formats=separated(format or ()),
        stuff=names_in(stuff) if stuff else None,
        report=report,
        raster=raster,
        bands=_numbers(bands),
        resume=resume,
        overwrite=overwrite,
        progress=None,
        exclude=exclude or (),
        **options,
    )
    for path, reason in done.failures.items():
        say(f"Left out: {path}: {reason}", err=True)
    count = done.photos - len(done.failures)
    refuse_nothing(count, done.photos, "segmented")
    say(f"Masks of {count_of(count, 'photos')}: {out}")
    if done.formats is not None:
        for note in done.formats.notes:
            say(f"Note: {note}", err=True)
        for name, folder in done.formats.folders.items():
            say(f"{name}: {folder}")
    if done.page is not None:
        say(f"Report: {done.page}")


def _numbers(text: str) -> list[int]:
    """The numbers of bands in a text with commas."""
    parts = [part for part in text.replace(" ", "").split(",") if part]
    if not all(part.isdecimal() for part in parts):
        raise OptionError(f"--bands is {text!r}; expected numbers with commas, such as 4,3,2.")
    return [int(part) for part in parts]
