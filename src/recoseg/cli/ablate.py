"""`recoseg ablate`: the tables of the paper, on data of one's own or the paper's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    Root,
    Split,
    Threshold,
)

if TYPE_CHECKING:
    from recoseg.archive.index import ArchiveIndex
    from recoseg.datasets.labelled import LabelledArchive
    from recoseg.device import Compute
    from recoseg.experiments.study import Setup


def ablate(
    studies: Annotated[
        list[str],
        typer.Argument(
            help="components, context, renaming, encoders, seeds, k, block, retrieval, or all "
            "(all but retrieval). Several share their work."
        ),
    ],
    index: Annotated[
        list[Path], typer.Option(help="Index of the archive; several for encoders, retrieval.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for tables, plots and JSON.")],
    dataset: Annotated[str | None, typer.Option(help="Data set; see `recoseg datasets`.")] = None,
    root: Root = None,
    split: Split = None,
    ids: Ids = None,
    protocol: ProtocolName = "native",
    published_quirks: Quirks = False,
    classes: Annotated[
        str | None,
        typer.Option(help="File of the classes' words; by default the data set's own prompts."),
    ] = None,
    aliases: Annotated[bool, typer.Option(help="With the data set's aliases, too.")] = False,
    preset: PresetName = None,
    saliency: Annotated[
        list[str] | None, typer.Option(help="Saliency encoder; several for encoders.")
    ] = None,
    phi: Annotated[
        list[str] | None, typer.Option(help="Dense image encoder; several for encoders.")
    ] = None,
    k: Annotated[int | None, typer.Option("-k", help="Retrieved photos per class; 50.")] = None,
    labels: Annotated[
        str, typer.Option(help="For retrieval: imagenet, folders, or a CSV file of path,label.")
    ] = "imagenet",
    crf: Annotated[bool, typer.Option(help="Refine by the CRF too (extra `crf`).")] = False,
    threshold: Threshold = None,
    background: Background = "",
    cache: CacheFolder = None,
    cache_size: CacheSize = 10.0,
    resume: Annotated[bool, typer.Option(help="Go on with an interrupted run in --out.")] = False,
    device: Device = "auto",
    precision: Precision = "auto",
) -> None:
    """Measure what each choice of the method does, as in the paper's tables."""
    from recoseg.archive.index import ArchiveIndex
    from recoseg.cli.building import names_in
    from recoseg.datasets.dataset_table import as_published, open_dataset
    from recoseg.datasets.spaces import class_lines, classes_of
    from recoseg.device import resolve_compute
    from recoseg.errors import RecosegError
    from recoseg.evaluation.protocols import protocol_of
    from recoseg.experiments.runner import run_studies
    from recoseg.experiments.studies import STUDIES, Baseline, study
    from recoseg.experiments.tables import study_markdown, write_study
    from recoseg.learning.feature_cache import FeatureCache

    compute = resolve_compute(device, precision)
    archives = [ArchiveIndex.open(path) for path in index]
    names = list(dict.fromkeys(n for s in studies for n in (STUDIES if s == "all" else (s,))))
    if "retrieval" in names:
        names.remove("retrieval")
        _retrieval(archives, labels, compute, out)
    if not names:
        return
    if dataset is None:
        raise RecosegError(f"{', '.join(names)}: expected a data set to measure on (--dataset).")
    opened = open_dataset(dataset, root, split, ids=ids)
    if published_quirks:
        opened = as_published(opened)
    words = classes_of(classes) if classes else class_lines(opened.space, aliases=aliases)
    setups = _setups(archives, preset, saliency, phi, k, compute)
    base = Baseline(tuple(setups), tuple(words), ("pamr", "crf") if crf else ("pamr",))
    chosen = [study(name, base) for name in names]
    found = run_studies(
        chosen,
        opened,
        protocol_of(protocol, opened.name, published_quirks=published_quirks),
        record=out / "record",
        resume=resume,
        cache=FeatureCache.open(cache, cache_size, compute.precision),
        options={"background_threshold": threshold, "background": names_in(background)},
        precision=compute.precision,
        device=compute.device,
        progress=None,
    )
    for one in chosen:
        problem = write_study(out, one, found)
        typer.echo(study_markdown(one, found))
        if problem:
            typer.echo(f"Not written: {one.name}.png: {problem}", err=True)
    typer.echo(f"Tables, plots and JSON: {out}")


def _setups(
    archives: list[ArchiveIndex],
    preset: str | None,
    saliencies: list[str] | None,
    phis: list[str] | None,
    k: int | None,
    compute: Compute,
) -> list[Setup]:
    """Every archive with every saliency encoder and every phi; each encoder is built once."""
    from dataclasses import replace

    from recoseg.encoders.bundle import Encoders
    from recoseg.encoders.encoder_table import build_phi, build_retrieval, build_saliency
    from recoseg.encoders.presets import pair_settings
    from recoseg.encoders.presets import preset as preset_of
    from recoseg.experiments.study import Setup

    chosen = preset_of(preset or archives[0].preset or "lite")
    saliency_encoders = [build_saliency(s, compute) for s in saliencies or [chosen.saliency]]
    phi_encoders = [build_phi(p, compute) for p in phis or [chosen.phi]]
    setups = []
    for archive in archives:
        spec = archive.info.spec if archive.info is not None else chosen.retrieval
        retrieval = build_retrieval(spec, compute)
        for saliency in saliency_encoders:
            for phi in phi_encoders:
                settings = pair_settings(saliency.info.name, phi.info.name)
                if k is not None:
                    settings = replace(settings, learn=replace(settings.learn, k=k))
                setups.append(
                    Setup(
                        archive,
                        Encoders(retrieval, saliency, phi),
                        settings,
                        ", ".join(e.info.name for e in (retrieval, saliency, phi)),
                    )
                )
    return setups


def _retrieval(archives: list[ArchiveIndex], labels: str, compute: Compute, out: Path) -> None:
    """Precision of each index."""
    from recoseg.encoders.encoder_table import build_retrieval
    from recoseg.encoders.presets import pair_settings
    from recoseg.experiments.retrieval import (
        measure_retrieval,
        retrieval_markdown,
        write_retrieval,
    )

    found = []
    for archive in archives:
        encoder = build_retrieval(archive.info.spec if archive.info else "lite", compute)
        prompts = pair_settings(encoder.info.name, "").learn.prompts
        found.append(measure_retrieval(archive, encoder, _labelled(archive, labels), prompts))
    problem = write_retrieval(out, found)
    typer.echo(retrieval_markdown(found))
    if problem:
        typer.echo(f"Not written: retrieval.png: {problem}", err=True)


def _labelled(archive: ArchiveIndex, labels: str) -> LabelledArchive:
    from recoseg.datasets.labelled import LabelledArchive

    paths = [archive.path(position) for position in range(len(archive))]
    if labels == "imagenet":
        return LabelledArchive.by_imagenet(paths)
    if labels == "folders":
        return LabelledArchive.by_folder(paths)
    return LabelledArchive.by_csv(paths, Path(labels))
