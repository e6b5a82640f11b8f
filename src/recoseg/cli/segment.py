"""`recoseg segment`: masks, overlays and one line per photo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import (
    Background,
    Device,
    FusionForm,
    Phi,
    Precision,
    Refine,
    RefineSteps,
    Saliency,
    Temperature,
    Threshold,
)


def segment(
    bank: Annotated[Path, typer.Argument(help="Concept bank, or a trained model or its run.")],
    images: Annotated[
        list[str], typer.Argument(help="Photos: files, folders, lists, tar shards, globs.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write to.")],
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
    overlays: Annotated[bool, typer.Option(help="Write overlays with a legend.")] = True,
    scores: Annotated[bool, typer.Option(help="Write score maps, fp16; large.")] = False,
    resume: Annotated[bool, typer.Option(help="Keep what an earlier run has finished.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos per forward pass.")] = 8,
    saliency: Saliency = None,
    phi: Phi = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Segment photos into the classes of a concept bank or a trained model."""
    from recoseg.cli.building import names_in, open_segmenter, photos_in
    from recoseg.device import resolve_compute
    from recoseg.segmentation.to_folder import folder_for, segment_to_folder

    photos = photos_in(images)
    segmenter = open_segmenter(
        bank,
        resolve_compute(device, precision),
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
        keep_scores=scores,
        batch_size=batch_size,
    )
    asked = {"labels": True, "overlays": overlays, "scores": scores}
    writers = [name for name, wanted in asked.items() if wanted]
    with folder_for(segmenter, out, writers=writers, resume=resume) as folder:
        failures = segment_to_folder(segmenter, photos, folder, progress=None)
    for path, reason in failures.items():
        typer.echo(f"Left out: {path}: {reason}", err=True)
    typer.echo(f"Masks of {len(photos) - len(failures):,} photos: {out}")
