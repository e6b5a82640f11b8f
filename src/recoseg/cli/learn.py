"""`recoseg learn`: from class names and an index to a concept bank."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recoseg.cli.executor_options import (
    ExecutorName,
    RayAddress,
    RayCpus,
    RayGpus,
    RayWorkers,
    executor_of,
    search_in,
)
from recoseg.cli.options import (
    CacheFolder,
    CacheSize,
    Device,
    Phi,
    Precision,
    PresetName,
    Prompts,
    Retrieval,
    Saliency,
    SkipDuplicates,
)

if TYPE_CHECKING:
    from recoseg.archive.index import ArchiveIndex
    from recoseg.concepts import ConceptBank
    from recoseg.config import BankSettings
    from recoseg.device import Compute
    from recoseg.encoders.bundle import Encoders
    from recoseg.learning.feature_worker import FeatureWorker


def learn(
    index: Annotated[str, typer.Argument(help="Folder of the index, or its URL.")],
    classes: Annotated[
        str,
        typer.Option(
            help="File with one class per line: name, or name: alias; -negative. Or the name of a "
            "label space, such as cityscapes27; see `recoseg datasets`."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Concept bank to write, .safetensors.")],
    add_to: Annotated[
        Path | None, typer.Option(help="Bank whose classes, context and settings go on.")
    ] = None,
    figures: Annotated[
        Path | None, typer.Option(help="Folder for a co-segmentation figure per class.")
    ] = None,
    aliases: Annotated[
        bool, typer.Option(help="With a label space: its aliases and background words, too.")
    ] = False,
    preset: PresetName = None,
    retrieval: Retrieval = None,
    saliency: Saliency = None,
    phi: Phi = None,
    k: Annotated[int | None, typer.Option("-k", help="Retrieved photos per class; 50.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Centre crop, pixels; 224.")] = None,
    prompts: Prompts = None,
    seeds: Annotated[int | None, typer.Option(help="Seed pixels per photo; 1.")] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="mean, normalised-mean, rank-weighted or winner."),
    ] = None,
    block: Annotated[
        str | None, typer.Option(help="image, or paper for the published block slice.")
    ] = None,
    guidance: Annotated[
        bool | None, typer.Option("--guidance/--no-guidance", help="Weigh patches by the text.")
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            help="Context to eliminate, such as 'sky, tree: tree; forest', or none; the paper's 5."
        ),
    ] = None,
    skip_duplicates: SkipDuplicates = None,
    cache: CacheFolder = None,
    cache_size: CacheSize = 10.0,
    device: Device = "auto",
    precision: Precision = "auto",
    executor: ExecutorName = "local",
    ray_address: RayAddress = "local",
    ray_workers: RayWorkers = None,
    ray_cpus: RayCpus = 1,
    ray_gpus: RayGpus = 0,
) -> None:
    """Learn classes: retrieve photos of each and find the patch that they have in common."""
    from recoseg.archive.index import ArchiveIndex
    from recoseg.concepts import ConceptBank
    from recoseg.datasets.spaces import classes_of
    from recoseg.device import resolve_compute
    from recoseg.learning.feature_cache import FeatureCache
    from recoseg.learning.feature_worker import Extraction
    from recoseg.learning.figure_folder import FigureWriter
    from recoseg.learning.learner import learn_bank as learn_classes

    place = executor_of(executor, ray_address, ray_workers, ray_cpus, ray_gpus)
    archive = ArchiveIndex.open(index)
    wanted = classes_of(classes, aliases)
    bank = ConceptBank.load(add_to) if add_to is not None else None
    compute = resolve_compute(device, precision)
    names = _names(archive, bank, preset, retrieval, saliency, phi)
    encoders = names.build(compute)
    settings = _settings(
        encoders,
        k=k,
        image_size=image_size,
        prompts=prompts,
        seeds_per_image=seeds,
        reference=reference,
        block=block,
        guidance=guidance,
        context=None if context is None else _words(context),
        skip_duplicates=skip_duplicates,
    )
    kept = FeatureCache.open(cache, cache_size, compute.precision)
    chosen = (bank.settings if bank is not None else settings).learn
    search, extraction = None, None
    if executor != "local":
        search = search_in(place, index, len(archive))
        dense = (names.phi, names.saliency if chosen.guidance else None)
        build = partial(_patch_worker, *dense, device, precision, ray_cpus)
        extraction = Extraction(build, place)
    with place.connection():
        learnt = learn_classes(
            archive,
            wanted,
            encoders,
            settings,
            bank=bank,
            cache=kept,
            extraction=extraction,
            search=search,
            device=compute.device if compute.device.type == "cuda" else "cpu",
            observe=FigureWriter(archive, figures, chosen.image_size) if figures else None,
            progress=None,
        )
    learnt.save(out)
    typer.echo(f"Concept bank: {out} ({len(learnt.classes)} classes)")
    if figures is not None:
        typer.echo(f"Figures: {figures}")


@dataclass(frozen=True)
class _Names:
    """The three encoders, each NAME or NAME=WEIGHTS."""

    retrieval: str
    saliency: str
    phi: str

    def build(self, compute: Compute) -> Encoders:
        from recoseg.encoders.bundle import Encoders
        from recoseg.encoders.encoder_table import build_phi, build_retrieval, build_saliency

        return Encoders(
            build_retrieval(self.retrieval, compute),
            build_saliency(self.saliency, compute),
            build_phi(self.phi, compute),
        )


def _names(
    archive: ArchiveIndex,
    bank: ConceptBank | None,
    preset: str | None,
    retrieval: str | None,
    saliency: str | None,
    phi: str | None,
) -> _Names:
    """The encoders asked for; else the bank's own, the index's own, the preset's."""
    from recoseg.encoders.presets import preset as preset_of

    chosen = preset_of(preset or archive.preset or "lite")
    names = {"retrieval": chosen.retrieval, "saliency": chosen.saliency, "phi": chosen.phi}
    if archive.info is not None and preset is None:
        names["retrieval"] = archive.info.spec
    if bank is not None:
        for role in names:
            info = getattr(bank.encoders, role)
            names[role] = info.spec
    return _Names(
        retrieval or names["retrieval"], saliency or names["saliency"], phi or names["phi"]
    )


def _patch_worker(
    phi: str, saliency: str | None, device: str, precision: str, threads: int
) -> FeatureWorker:
    """Builds the dense encoders where they are to run."""
    from recoseg.learning.feature_worker import dense_worker

    return dense_worker(phi, saliency, device=device, precision=precision, threads=threads)


def _settings(encoders: Encoders, **changes: object) -> BankSettings:
    """The pair's defaults, with what the user chose."""
    from dataclasses import replace

    from recoseg.encoders.presets import pair_settings

    defaults = pair_settings(encoders.saliency.info.name, encoders.phi.info.name)
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(defaults, learn=replace(defaults.learn, **given))  # type: ignore[arg-type]


def _words(text: str) -> tuple[str, ...]:
    return () if text.strip() == "none" else tuple(n.strip() for n in text.split(",") if n.strip())
