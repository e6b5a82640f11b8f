"""`recoseg retrieve`: look at what an archive has for a class."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from recoseg.cli.executor_options import (
    ExecutorName,
    RayAddress,
    RayCpus,
    RayWorkers,
    executor_of,
    search_in,
)
from recoseg.cli.options import Device, Precision, Prompts, Retrieval, SkipDuplicates


def retrieve(
    index: Annotated[str, typer.Argument(help="Folder of the index, or its URL.")],
    classes: Annotated[
        list[str], typer.Argument(help="Classes, such as zebra or 'sofa; couch; -bed'.")
    ],
    k: Annotated[int, typer.Option("-k", min=1, help="Photos per class.")] = 50,
    out: Annotated[Path | None, typer.Option(help="HTML contact sheet to write.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    skip_duplicates: SkipDuplicates = None,
    retrieval: Retrieval = None,
    prompts: Prompts = None,
    device: Device = "auto",
    precision: Precision = "auto",
    approximate: Annotated[
        str | None, typer.Option(help="ivf or hnsw instead of exact search (extra `faiss`).")
    ] = None,
    effort: Annotated[
        int, typer.Option(min=1, help="Lists of ivf, or candidates of hnsw, to visit.")
    ] = 64,
    recall: Annotated[
        bool, typer.Option(help="With --approximate: search exactly too and tell the recall.")
    ] = True,
    executor: ExecutorName = "local",
    ray_address: RayAddress = "local",
    ray_workers: RayWorkers = None,
    ray_cpus: RayCpus = 1,
) -> None:
    """Find the photos that show each class best, by cosine of their embeddings."""
    from recoseg.archive.index import ArchiveIndex
    from recoseg.classes import parse_classes
    from recoseg.device import resolve_compute
    from recoseg.drawing.retrieval_sheet import write_contact_sheet
    from recoseg.encoders.encoder_table import build_retrieval
    from recoseg.encoders.presets import pair_settings
    from recoseg.errors import ArchiveError
    from recoseg.retrieval.approximate import ApproximateIndex
    from recoseg.retrieval.class_texts import ClassTexts, check_index
    from recoseg.retrieval.retriever import Search
    from recoseg.retrieval.retriever import retrieve as find

    place = executor_of(executor, ray_address, ray_workers, ray_cpus, gpus=0)
    archive = ArchiveIndex.open(index)
    if retrieval is None and archive.info is None:
        raise ArchiveError(
            f"{index} does not say which encoder made it. Name it: --retrieval ViT-L/14, say."
        )
    spec = retrieval or (archive.info.spec if archive.info else "")
    encoder = build_retrieval(spec, resolve_compute(device, precision))
    wanted = parse_classes(classes)
    chosen = prompts or pair_settings(encoder.info.name, "").learn.prompts
    check_index(archive, encoder)
    queries = ClassTexts.of(wanted).queries(encoder, chosen)
    search: Search | None = None
    if executor != "local":
        search = search_in(place, index, len(archive))
    if approximate is not None:
        proposer = ApproximateIndex.open(
            archive, archive.root / "approximate", approximate, effort=effort
        )
        search = proposer.search
        if recall:
            share = proposer.recall(queries, k)
            typer.echo(f"Recall of the exact top {k}: {share:.3f}.", err=True)
    with place.connection():
        found = find(archive, queries, k, skip_duplicates=skip_duplicates or False, search=search)
    groups = {item.name: hits for item, hits in zip(wanted, found, strict=True)}
    if out is not None:
        write_contact_sheet(out, list(groups.items()), archive)
        typer.echo(f"Contact sheet: {out}")
    if as_json:
        rows = {
            name: [{"path": archive.path(hit.position), "score": hit.score} for hit in hits]
            for name, hits in groups.items()
        }
        typer.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif out is None:
        for name, hits in groups.items():
            typer.echo(name)
            for hit in hits:
                typer.echo(f"  {hit.score:.4f}  {archive.path(hit.position)}")
