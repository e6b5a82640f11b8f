"""`recoseg evaluate`: score a bank, a model or a folder of predictions on a labelled data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from recoseg.cli.options import (
    Ambiguity,
    AreaThreshold,
    Background,
    BatchSize,
    DatasetName,
    Device,
    FusionForm,
    Ids,
    Memory,
    Names,
    NamesTemperature,
    Overwrite,
    Phi,
    Precision,
    Presence,
    ProtocolName,
    Quirks,
    Refine,
    RefineSteps,
    RegionCacheFolder,
    Regions,
    Resume,
    Root,
    Saliency,
    Split,
    Temperature,
    Threshold,
    Vote,
    names_in,
)
from recoseg.cli.output import refuse_nothing, say, say_lines


def evaluate(
    dataset: DatasetName,
    bank: Annotated[
        Path | None,
        typer.Argument(
            help="Concept bank, trained model, or folder of a training run. Leave it out to score "
            "--predictions."
        ),
    ] = None,
    root: Root = None,
    split: Split = None,
    ids: Ids = None,
    protocol: ProtocolName = "native",
    published_quirks: Quirks = False,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Folder of label maps NAME.png to score instead of a bank. NAME is the name of "
            "the photo in the data set. Pixel values are class numbers, counted from 0, in the "
            "order of classes.txt in the folder, or else of the data set."
        ),
    ] = None,
    fusion: FusionForm = None,
    resize: Annotated[
        int | None,
        typer.Option(
            help="Short side of the encoders' input in pixels. By default that of the protocol."
        ),
    ] = None,
    threshold: Threshold = None,
    background: Background = "",
    refine: Refine = "none",
    temperature: Temperature = None,
    refine_steps: RefineSteps = None,
    regions: Regions = None,
    vote: Vote = None,
    region_cache: RegionCacheFolder = None,
    memory: Memory = None,
    names: Names = None,
    names_temperature: NamesTemperature = None,
    presence: Presence = None,
    area_threshold: AreaThreshold = None,
    ambiguity: Ambiguity = None,
    boundary: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Also measure the boundary F-score at this tolerance, in pixels, or as a fraction "
            "of the photo's diagonal if below 1.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for JSON, report, confusion matrix and contact sheet. By default only a "
            "summary is printed."
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
    """Score a segmentation on a labelled data set.

    The segmentation comes from a concept bank, from a trained model, or from a folder of label maps
    of any method.
    """
    from recoseg.evaluation.markdown import headline
    from recoseg.pipeline.evaluate import evaluate as run

    options: dict[str, Any] = {
        "fusion": fusion,
        "threshold": threshold,
        "background": names_in(background) or None,
        "refine": None if refine == "none" else refine,
        "temperature": temperature,
        "refine_steps": refine_steps,
        "regions": regions,
        "vote": vote,
        "region_cache": region_cache,
        "memory": memory,
        "names": names,
        "names_temperature": names_temperature,
        "presence": presence,
        "area_threshold": area_threshold,
        "ambiguity": ambiguity,
        "saliency": saliency,
        "phi": phi or None,
    }
    report = run(
        bank,
        dataset,
        root=root,
        split=split,
        ids=ids,
        protocol=protocol,
        published_quirks=published_quirks,
        predictions=predictions,
        resize=resize,
        boundary=boundary,
        out=out,
        resume=resume,
        overwrite=overwrite,
        batch_size=batch_size,
        device=device,
        precision=precision,
        progress=None,
        **{name: value for name, value in options.items() if value is not None},
    )
    for note in report.notes:
        say_lines(note, err=True)
    for image in report.evaluation.failures:
        say(f"Left out: {image.name}: {image.error}", err=True)
    for problem in report.not_written:
        say(f"Not written: {problem}", err=True)
    tried, failed = len(report.evaluation.images), len(report.evaluation.failures)
    refuse_nothing(tried - failed, tried, "evaluated")
    say_lines(headline(report.evaluation))
    if out is not None:
        say(f"Report: {out / 'report.md'}")
