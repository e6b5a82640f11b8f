"""`recoseg pseudo-label`: a training set of masks that a bank or a trained model makes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import (
    Background,
    FusionForm,
    Phi,
    Precision,
    Refine,
    RefineSteps,
    Saliency,
    Temperature,
    Threshold,
)


def pseudo_label(
    bank: Annotated[Path, typer.Argument(help="Concept bank, or a trained model or its run.")],
    images: Annotated[
        list[str], typer.Argument(help="Photos: files, folders, lists, tar shards, globs.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
    min_confidence: Annotated[
        float | None, typer.Option(help="Ignore pixels of less confidence, 0 to 1.")
    ] = None,
    quantile: Annotated[
        float | None,
        typer.Option(help="Ignore at most this fraction of each class, the least confident."),
    ] = None,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="Keep confidence maps although none is ignored.")
    ] = False,
    fusion: FusionForm = None,
    resize: Annotated[
        int | None, typer.Option(help="Short side of the encoders' input; 0 for the photo's own.")
    ] = None,
    window: Annotated[int | None, typer.Option(help="Side of sliding windows, pixels.")] = None,
    window_step: Annotated[int | None, typer.Option(help="Step of the windows, pixels.")] = None,
    threshold: Threshold = None,
    background: Background = "",
    refine: Refine = "none",
    temperature: Temperature = None,
    refine_steps: RefineSteps = None,
    overlays: Annotated[bool, typer.Option(help="Write overlays with a legend.")] = False,
    resume: Annotated[bool, typer.Option(help="Keep what an earlier run has finished.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos per forward pass.")] = 8,
    saliency: Saliency = None,
    phi: Phi = None,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, cuda:N or mps; several with commas.")
    ] = "auto",
    precision: Precision = "auto",
) -> None:
    """Make pseudo-labels of photos, to train a model on."""
    from recoseg.cli.building import names_in, open_segmenter, photos_in
    from recoseg.device import resolve_compute
    from recoseg.segmentation.segmenter import in_parallel
    from recoseg.training.balance import balance_table
    from recoseg.training.confidence import Ignoring
    from recoseg.training.pseudo_labels import pseudo_label as run

    ignoring = Ignoring(min_confidence, quantile)
    photos = photos_in(images)
    segmenters = [
        open_segmenter(
            bank,
            resolve_compute(name, precision),
            fusion=fusion,
            refine=refine,
            temperature=temperature,
            refine_steps=refine_steps,
            phi=phi,
            saliency=saliency,
            resize=resize,
            window=window,
            window_step=window_step,
            background_threshold=threshold,
            background=names_in(background),
            keep_scores=confidence or not ignoring.idle,
            batch_size=batch_size,
        )
        for name in names_in(device)
    ]
    found = run(
        in_parallel(segmenters, batch_size),
        photos,
        out,
        ignoring=ignoring,
        confidence=confidence,
        overlays=overlays,
        resume=resume,
        progress=None,
    )
    for path, reason in found.failures.items():
        typer.echo(f"Left out: {path}: {reason}", err=True)
    typer.echo(balance_table(found.balance, found.background))
    typer.echo(f"Pseudo-labels of {len(found.photos):,} photos: {out / 'labels'}")
