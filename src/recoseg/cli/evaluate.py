"""`recoseg evaluate`: score a bank, or a folder of predictions, on a labelled data set."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.options import (
    Background,
    DatasetName,
    Device,
    FusionForm,
    Ids,
    Phi,
    Precision,
    ProtocolName,
    Quirks,
    Refine,
    RefineSteps,
    Root,
    Saliency,
    Split,
    Temperature,
    Threshold,
)


def evaluate(
    dataset: DatasetName,
    bank: Annotated[
        Path | None, typer.Argument(help="Concept bank, or a trained model or its run.")
    ] = None,
    root: Root = None,
    split: Split = None,
    ids: Ids = None,
    protocol: ProtocolName = "native",
    published_quirks: Quirks = False,
    predictions: Annotated[
        Path | None,
        typer.Option(
            help="Folder of label maps NAME.png to score instead of a bank; NAME is the photo's in "
            "the data set, values count the classes of its classes.txt or of the data set from 0."
        ),
    ] = None,
    fusion: FusionForm = None,
    resize: Annotated[
        int | None, typer.Option(help="Short side of the encoders' input, not the protocol's.")
    ] = None,
    threshold: Threshold = None,
    background: Background = "",
    refine: Refine = "none",
    temperature: Temperature = None,
    refine_steps: RefineSteps = None,
    boundary: Annotated[
        float | None,
        typer.Option(
            min=0, help="Boundary F-score too, at this tolerance: pixels, or below 1 a share."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for JSON, report, confusion matrix, contact sheet.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted run in --out.")] = False,
    batch_size: Annotated[int, typer.Option(min=1, help="Photos per forward pass.")] = 8,
    saliency: Saliency = None,
    phi: Phi = None,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Score a concept bank, or anybody's label maps, on a labelled data set."""
    from recoseg.cli.building import names_in, open_segmenter
    from recoseg.concepts import ConceptBank
    from recoseg.datasets.dataset_table import as_published, open_dataset
    from recoseg.datasets.spaces import has_aliases
    from recoseg.device import resolve_compute
    from recoseg.errors import RecosegError
    from recoseg.evaluation.counts_file import CountsFile
    from recoseg.evaluation.evaluate import evaluate as run
    from recoseg.evaluation.evaluate import settings_of
    from recoseg.evaluation.markdown import headline
    from recoseg.evaluation.prediction_folder import PredictionFolder
    from recoseg.evaluation.protocols import protocol_of
    from recoseg.evaluation.report_folder import write_evaluation
    from recoseg.evaluation.rows import Row

    if (bank is None) == (predictions is None):
        raise RecosegError(
            "Expected either a bank or --predictions; see `recoseg evaluate --help`."
        )
    if predictions is not None:
        given = {
            "--fusion": fusion,
            "--resize": resize,
            "--threshold": threshold,
            "--background": background or None,
            "--refine": None if refine == "none" else refine,
            "--temperature": temperature,
            "--refine-steps": refine_steps,
            "--saliency": saliency,
            "--phi": phi,
        }
        meant = [option for option, value in given.items() if value is not None]
        if meant:
            raise RecosegError(
                f"--predictions takes label maps as they are; {', '.join(meant)} would do nothing."
            )
    if resume and out is None:
        raise RecosegError("--resume needs the folder of the interrupted run: --out.")
    opened = open_dataset(dataset, root, split, ids=ids)
    if published_quirks:
        opened = as_published(opened)
    chosen = protocol_of(protocol, opened.name, published_quirks=published_quirks, resize=resize)
    compute = resolve_compute(device, precision)
    row: Row
    if predictions is not None:
        row = PredictionFolder(predictions, opened.space, chosen)
        name = row.name
    else:
        assert bank is not None
        row = open_segmenter(
            bank,
            compute,
            fusion=fusion,
            refine=refine,
            temperature=temperature,
            refine_steps=refine_steps,
            phi=phi,
            saliency=saliency,
            background_threshold=threshold,
            background=names_in(background),
            batch_size=batch_size,
            **chosen.segmenter_options,
        )
        name = bank.stem
        if (
            chosen.aliases
            and row.kind == "bank"
            and not has_aliases(
                [item.words for item in ConceptBank.load(bank).classes], opened.space
            )
        ):
            typer.echo(
                f"The protocol {chosen.name} means classes that are learnt with the data set's "
                f"aliases (`recoseg learn INDEX --classes {dataset} --aliases`); this bank's are "
                "bare names.",
                err=True,
            )
    rows = {name: row}
    [settings] = settings_of(opened, chosen, rows, boundary, compute.precision)
    counts = None
    if out is not None:
        counts = CountsFile(out, settings, len(opened.space.scored), resume=resume)
    with counts or nullcontext():
        [result] = run(
            opened,
            chosen,
            rows,
            boundary=boundary,
            counts=counts,
            precision=compute.precision,
            device=compute.device,
            progress=None,
        )
    if result.failures and len(result.failures) == len(result.images):
        first = result.failures[0]
        raise RecosegError(
            f"None of the {len(result.images):,} photos could be evaluated. The first, "
            f"{first.name}: {first.error}."
        )
    for image in result.failures:
        typer.echo(f"Left out: {image.name}: {image.error}", err=True)
    if out is not None:
        for problem in write_evaluation(out, result, opened, chosen, row):
            typer.echo(f"Not written: {problem}", err=True)
    typer.echo(headline(result))
    if out is not None:
        typer.echo(f"Report: {out / 'report.md'}")
