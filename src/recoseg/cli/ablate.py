"""`recoseg ablate`: the paper's ablation tables, on the paper's data or other data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import (
    Background,
    CacheFolder,
    CacheSize,
    Device,
    ExcludeNames,
    Ids,
    Memory,
    Overwrite,
    Precision,
    PresetName,
    ProtocolName,
    Quirks,
    Resume,
    Root,
    SelectionFile,
    Split,
    Threshold,
    Vote,
    names_in,
)
from recoseg.cli.output import say, say_lines
from recoseg.cli.selected import selected


def ablate(
    studies: Annotated[
        list[str],
        typer.Argument(
            help="Studies to run: components, context, renaming, encoders, seeds, k, block, "
            "retrieval, recipe, or all (the first seven). Studies in one run share computations."
        ),
    ],
    index: Annotated[
        list[Path],
        typer.Option(
            help="Index of the archive; repeat the option to compare several in the studies "
            "encoders and retrieval."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for tables, plots and JSON.")],
    dataset: Annotated[
        str | None,
        typer.Option(
            help="Labelled data set; see `recoseg datasets`. Not needed for the study retrieval."
        ),
    ] = None,
    root: Root = None,
    split: Split = None,
    ids: Ids = None,
    exclude: ExcludeNames = None,
    protocol: ProtocolName = "native",
    published_quirks: Quirks = False,
    classes: Annotated[
        str | None,
        typer.Option(
            help="File with one class per line, or classes with commas between them, such as "
            "'dog, cat'. By default the classes of the data set."
        ),
    ] = None,
    aliases: Annotated[bool, typer.Option(help="Also use the data set's aliases.")] = False,
    preset: PresetName = None,
    saliency: Annotated[
        list[str] | None,
        typer.Option(
            help="Dense text encoder; repeat the option to compare several in the study encoders."
        ),
    ] = None,
    phi: Annotated[
        list[str] | None,
        typer.Option(
            help="Dense image encoder; repeat the option to compare several in the study encoders, "
            "and to put them into one bank in the study recipe."
        ),
    ] = None,
    memory: Memory = None,
    regions: Annotated[
        str | None,
        typer.Option(
            help="For the study recipe: the regions that vote, as in `recoseg segment`. By default "
            "superpixels."
        ),
    ] = None,
    vote: Vote = None,
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
        bool, typer.Option(help="Also refine with the dense CRF (needs the extra `crf`).")
    ] = False,
    threshold: Threshold = None,
    background: Background = "",
    selection: SelectionFile = None,
    cache: CacheFolder = None,
    cache_size: CacheSize = 10.0,
    resume: Resume = False,
    overwrite: Overwrite = False,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Measure what each part of the method contributes.

    The tables follow those of the paper. The study recipe shows, row by row, the steps from the
    published recipe to the default of `lite` and beyond.
    """
    from recoseg.pipeline.ablate import ablate as run

    report = run(
        studies,
        [selected(one, selection) for one in index],
        out,
        dataset=dataset,
        root=root,
        split=split,
        ids=ids,
        exclude=exclude or (),
        protocol=protocol,
        published_quirks=published_quirks,
        classes=classes,
        aliases=aliases,
        preset=preset,
        saliency=saliency or (),
        phi=phi or (),
        memory=memory,
        regions=regions,
        vote=vote,  # type: ignore[arg-type]
        k=k,
        labels=labels,
        crf=crf,
        threshold=threshold,
        background=names_in(background),
        cache=cache,
        cache_gigabytes=cache_size,
        resume=resume,
        overwrite=overwrite,
        device=device,
        precision=precision,
        progress=None,
    )
    for table in report.tables:
        say_lines(table)
    for problem in report.not_written:
        say(f"Not written: {problem}", err=True)
    say(f"Tables, plots and JSON: {out}")
