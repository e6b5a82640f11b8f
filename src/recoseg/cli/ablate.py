"""`recoseg ablate`: the tables of the paper, on data of one's own or the paper's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import (
    Background,
    CacheFolder,
    CacheSize,
    Device,
    Ids,
    Precision,
    PresetName,
    ProtocolName,
    Quirks,
    Resume,
    Root,
    Split,
    Threshold,
    names_in,
)


def ablate(
    studies: Annotated[
        list[str],
        typer.Argument(
            help="components, context, renaming, encoders, seeds, k, block, retrieval, or all "
            "(all but retrieval). Several studies share their work."
        ),
    ],
    index: Annotated[
        list[Path],
        typer.Option(
            help="Index of the archive; give the option again for the studies encoders and "
            "retrieval."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for tables, plots and JSON.")],
    dataset: Annotated[
        str | None, typer.Option(help="Labelled data set; see `recoseg datasets`.")
    ] = None,
    root: Root = None,
    split: Split = None,
    ids: Ids = None,
    protocol: ProtocolName = "native",
    published_quirks: Quirks = False,
    classes: Annotated[
        str | None,
        typer.Option(help="File of classes. By default the data set's own prompts."),
    ] = None,
    aliases: Annotated[bool, typer.Option(help="Also use the data set's aliases.")] = False,
    preset: PresetName = None,
    saliency: Annotated[
        list[str] | None,
        typer.Option(help="Dense text encoder; give the option again for the study encoders."),
    ] = None,
    phi: Annotated[
        list[str] | None,
        typer.Option(help="Dense image encoder; give the option again for the study encoders."),
    ] = None,
    k: Annotated[
        int | None, typer.Option("-k", help="Retrieved photos per class. By default 50.")
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            help="Labels for the study retrieval: imagenet, folders, or a CSV file with the "
            "columns path and label."
        ),
    ] = "imagenet",
    crf: Annotated[
        bool, typer.Option(help="Also refine by the dense CRF (needs the extra `crf`).")
    ] = False,
    threshold: Threshold = None,
    background: Background = "",
    cache: CacheFolder = None,
    cache_size: CacheSize = 10.0,
    resume: Resume = False,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Measure what each choice of the method contributes, as in the paper's tables."""
    from recoseg.pipeline.ablate import ablate as run

    report = run(
        studies,
        index,
        out,
        dataset=dataset,
        root=root,
        split=split,
        ids=ids,
        protocol=protocol,
        published_quirks=published_quirks,
        classes=classes,
        aliases=aliases,
        preset=preset,
        saliency=saliency or (),
        phi=phi or (),
        k=k,
        labels=labels,
        crf=crf,
        threshold=threshold,
        background=names_in(background),
        cache=cache,
        cache_gigabytes=cache_size,
        resume=resume,
        device=device,
        precision=precision,
        progress=None,
    )
    for table in report.tables:
        typer.echo(table)
    for problem in report.not_written:
        typer.echo(f"Not written: {problem}", err=True)
    typer.echo(f"Tables, plots and JSON: {out}")
