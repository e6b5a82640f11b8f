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
    Decoder,
    DecoderWeight,
    Device,
    Exclude,
    FusionForm,
    Ids,
    Memory,
    MemoryWeight,
    Names,
    NamesTemperature,
    OtherRecipe,
    Overwrite,
    Phi,
    PhiWeight,
    PhotoWeight,
    Precision,
    Presence,
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
    TextWeight,
    Threshold,
    Vote,
    names_in,
)
from recoseg.cli.output import refuse_nothing, refuse_unused, say, say_lines
from recoseg.errors import OptionError, RecosegError


def evaluate(
    dataset: Annotated[
        str,
        typer.Option(
            help="Labelled data set; see `recoseg datasets`. `folder` reads images/ and masks/. "
            "`community` stands for the eight data sets that later papers report; those that are "
            "in the folder --root are used."
        ),
    ],
    bank: Annotated[
        Path | None,
        typer.Argument(
            help="Concept bank, trained model, or folder of a training run, or its address on the "
            "Hub, hf:OWNER/NAME; for `community` a folder with a bank NAME.safetensors for each "
            "data set. Leave it out to score --predictions."
        ),
    ] = None,
    root: Root = None,
    split: Split = None,
    ids: Ids = None,
    exclude: Exclude = None,
    index: Annotated[
        str | None,
        typer.Option(help="For `community`: index to learn missing banks from."),
    ] = None,
    protocol: Annotated[
        str | None,
        typer.Option(
            help="How photos are prepared and scored: paper, tcl (common in later papers; the "
            "default for `community`), proxyclip (larger windows) or native (as `recoseg segment` "
            "treats photos; the default)."
        ),
    ] = None,
    published_quirks: Quirks = False,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Folder of label maps to score instead of a bank: NAME.png, where NAME is that of "
            "the photo in the data set. Pixel values are numbers of classes, from 0, in the order "
            "of classes.txt in the folder, or else of the data set. Or a file or folder of masks "
            "in a format of `recoseg convert`."
        ),
    ] = None,
    allow_missing: Annotated[
        bool,
        typer.Option(
            "--allow-missing",
            help="Leave out photos without a prediction; by default a missing one is an error.",
        ),
    ] = False,
    recipe: OtherRecipe = None,
    fusion: FusionForm = None,
    phi_weight: PhiWeight = None,
    text_weight: TextWeight = None,
    memory_weight: MemoryWeight = None,
    photo_weight: PhotoWeight = None,
    decoder_weight: DecoderWeight = None,
    resize: Annotated[
        int | None,
        typer.Option(
            help="Short side of the encoders' input, pixels. By default that of the protocol."
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
    decoder: Decoder = None,
    names: Names = None,
    names_temperature: NamesTemperature = None,
    presence: Presence = None,
    area_threshold: AreaThreshold = None,
    min_area: Annotated[
        float,
        typer.Option(
            help="Parts of a mask with fewer pixels than this (or, below 1, with a smaller share "
            "of the photo), and holes, take the labels around them. By default 0, as published."
        ),
    ] = 0,
    ambiguity: Ambiguity = None,
    boundary: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Also measure the boundary F-score at this tolerance, in pixels, or, below 1, as "
            "a fraction of the photo's diagonal.",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for JSON, report, confusion matrix and contact sheet. By default only a "
            "summary is printed."
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Folder for pages for a browser: scores, confusion matrix, and for each class the "
            "photos in which it was segmented best and worst."
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
    from recoseg.evaluation.suite import SUITE

    options: dict[str, Any] = {
        "recipe": recipe,
        "fusion": fusion,
        "phi_weights": phi_weight or None,
        "text_weight": text_weight,
        "memory_weight": memory_weight,
        "photo_weight": photo_weight,
        "decoder_weight": decoder_weight,
        "threshold": threshold,
        "background": names_in(background) or None,
        "refine": None if refine == "none" else refine,
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
        "min_area": min_area or None,
        "ambiguity": ambiguity,
        "saliency": saliency,
        "phi": phi or None,
        "protocol": protocol,
        "resize": resize,
        "boundary": boundary,
    }
    options = {name: value for name, value in options.items() if value is not None}
    options |= {"batch_size": batch_size, "device": device, "precision": precision}
    options |= {"out": out, "resume": resume, "overwrite": overwrite, "progress": None}
    if dataset == SUITE:
        quirks = published_quirks or None
        alone = {
            "split": split,
            "ids": ids,
            "exclude": exclude,
            "predictions": predictions,
            "published-quirks": quirks,
            "allow-missing": allow_missing or None,
            "report": report,
        }
        refuse_unused(f"for the data set {SUITE}", alone)
        _evaluate_suite(bank, root, index, options)
        return
    refuse_unused(f"without the data set {SUITE}", {"index": index})

    from recoseg.evaluation.markdown import headline, reasons
    from recoseg.pipeline.evaluate import evaluate as run

    done = run(
        bank,
        dataset,
        root=root,
        split=split,
        ids=ids,
        exclude=exclude or (),
        predictions=predictions,
        allow_missing=allow_missing,
        published_quirks=published_quirks,
        report=report,
        **options,
    )
    for note in done.notes:
        say_lines(note, err=True)
    for line in reasons(done.evaluation.failures):
        say(f"Left out: {line}", err=True)
    for problem in done.not_written:
        say(f"Not written: {problem}", err=True)
    tried, failed = len(done.evaluation.images), len(done.evaluation.failures)
    refuse_nothing(tried - failed, tried, "evaluated")
    say_lines(headline(done.evaluation))
    if out is not None:
        say(f"Report: {out / 'report.md'}")
    if done.page is not None:
        say(f"Pages: {done.page}")


def _evaluate_suite(
    banks: Path | None, root: Path | None, index: str | None, options: dict[str, Any]
) -> None:
    from recoseg.evaluation.markdown import reasons
    from recoseg.pipeline.suite import FILES, evaluate_suite

    if banks is None or root is None:
        raise OptionError("Expected the folder of the banks and, by --root, that of the data sets.")
    report = evaluate_suite(banks, root, index=index, **options)
    for note in report.notes:
        say_lines(note, err=True)
    for name, evaluation in report.evaluations.items():
        for line in reasons(evaluation.failures):
            say(f"Left out: {name}, {line}", err=True)
    for name, reason in report.left_out.items():
        say_lines(f"Left out: {name}: {reason}", err=True)
    for problem in report.not_written:
        say(f"Not written: {problem}", err=True)
    say_lines(report.table)
    if options["out"] is not None:
        say(f"Table: {options['out'] / FILES[0]}")
    for name, reason in report.failed.items():
        say_lines(f"Failed: {name}: {reason}", err=True)
    if report.failed:
        raise RecosegError(
            f"{len(report.failed)} of the data sets failed: {', '.join(report.failed)}. Their "
            "reasons are above. The others have scores; with --out, run the command again with "
            "--resume."
        )
