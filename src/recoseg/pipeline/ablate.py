"""The paper's ablation tables on any data (`recoseg ablate`)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from recoseg.archive.index import ArchiveIndex
from recoseg.concepts import ConceptBank
from recoseg.config import PAPER_RECIPE
from recoseg.datasets.dataset_table import as_published, open_dataset
from recoseg.datasets.excluded import names_left
from recoseg.datasets.labelled import LabelledArchive
from recoseg.datasets.spaces import class_lines
from recoseg.device import Compute, resolve_compute
from recoseg.encoders.bundle import Encoders
from recoseg.encoders.defaults import default_prompts, default_settings
from recoseg.encoders.encoder_table import (
    build_phi,
    build_retrieval,
    build_saliency,
    with_default_form,
)
from recoseg.encoders.extract import NeedsFeatures
from recoseg.encoders.presets import preset as preset_of
from recoseg.errors import OptionError
from recoseg.evaluation.counts_file import LINES, CountsFile
from recoseg.evaluation.protocols import protocol_of
from recoseg.experiments.retrieval import (
    RetrievalScores,
    measure_retrieval,
    retrieval_markdown,
    write_retrieval,
)
from recoseg.experiments.runner import run_studies
from recoseg.experiments.studies import STUDIES, Baseline, studies_named, study
from recoseg.experiments.study import Setup
from recoseg.experiments.tables import study_markdown, write_study
from recoseg.learning.feature_cache import FeatureCache
from recoseg.memory.region_memory import RegionMemory, open_memory
from recoseg.pipeline.checks import check_encoder, check_output_folder
from recoseg.pipeline.classes import Classes, as_classes
from recoseg.pipeline.index import open_index
from recoseg.pipeline.voting import voting_of
from recoseg.progress import resumable, telling_what_is_kept
from recoseg.regions.protocol import RegionProvider
from recoseg.segmentation.memory_branch import shared_phi
from recoseg.segmentation.voting import VoteForm, Voting
from recoseg.storage.claim import claim
from recoseg.storage.locks import lock_folder

FORMAT = "recoseg-ablation-1"
_WHAT = "tables"


@dataclass(frozen=True)
class AblateReport:
    """Results of a run.

    Attributes:
        tables: The tables in Markdown.
        not_written: Files that could not be written, each with the reason.
    """

    tables: tuple[str, ...]
    not_written: tuple[str, ...]


def ablate(
    studies: Sequence[str],
    indexes: Sequence[ArchiveIndex | str | Path],
    out: str | Path,
    *,
    dataset: str | None = None,
    root: str | Path | None = None,
    split: str | None = None,
    ids: str | Path | None = None,
    exclude: str | Sequence[str] = (),
    protocol: str = "native",
    published_quirks: bool = False,
    classes: Classes | None = None,
    aliases: bool = False,
    preset: str | None = None,
    saliency: Sequence[str] = (),
    phi: Sequence[str] = (),
    memory: str | Path | RegionMemory | None = None,
    regions: str | RegionProvider | None = None,
    vote: VoteForm | None = None,
    k: int | None = None,
    labels: str = "imagenet",
    crf: bool = False,
    threshold: float | None = None,
    background: Sequence[str] = (),
    cache: str | Path | None = None,
    cache_gigabytes: float = 10.0,
    resume: bool = False,
    overwrite: bool = False,
    device: str = "auto",
    precision: str = "auto",
    progress: bool | None = False,
) -> AblateReport:
    """Measure what each part of the method contributes, as in the paper's tables.

    Args:
        studies: Names of studies, `retrieval`, or `all` for all studies except `retrieval` and
            `recipe`.
        indexes: Indexes or their paths; several for the studies `encoders` and `retrieval`.
        out: Folder for tables, plots and JSON.
        dataset: Labelled data set to measure on; not needed for `retrieval` alone.
        root: Folder that holds the data set.
        split: Dataset split. By default that of the data set, most often `val`.
        ids: File with the names of the photos to use, one per line.
        exclude: Patterns of the names of photos to leave out; see `names_left`.
        protocol: How photos are prepared and scored; see `protocol_of`.
        published_quirks: Whether to repeat the errors of the published evaluation.
        classes: The classes with their words. By default the data set's own prompts.
        aliases: Whether to use the data set's aliases as well.
        preset: Name of a choice of encoders. By default that of the first index.
        saliency: Dense text encoders; several for the study `encoders`.
        phi: Dense image encoders; several for the study `encoders`, and for `recipe`, which also
            puts all of them into one bank.
        memory: For `recipe`: region memory, or its folder or URL.
        regions: For `recipe`: what divides photos into regions that vote; see `provider_of`. By
            default `superpixels`.
        vote: For `recipe`: what they vote on, `mean` or `mode`; see `open_segmenter`.
        k: Retrieved photos per class. By default 50.
        labels: Labels for `retrieval`: `imagenet`, `folders`, or a CSV file with the columns
            `path` and `label`.
        crf: Whether to also refine by the CRF.
        threshold: Pixels whose best score is lower become background.
        background: Names of classes that become background.
        cache: Folder where features of photos are kept for the next run.
        cache_gigabytes: Maximum size of that folder, GB.
        resume: Whether to continue an interrupted run in `out`.
        overwrite: Whether to remove what an earlier run has written to `out`.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        progress: See `StageProgress`.

    Raises:
        UnknownNameError: There is no such study, preset, encoder or data set.
        OutputError: `out` holds an earlier run, which is neither continued nor replaced.
        RecosegError: A study needs a data set, but none is given.
    """
    names = studies_named(studies)
    if "recipe" not in names:
        given = {"--memory": memory, "--regions": regions, "--vote": vote}
        unused = [name for name, value in given.items() if value is not None]
        if unused:
            raise OptionError(
                f"{', '.join(unused)} would have no effect without the study recipe. Leave it out."
            )
    folder = check_output_folder(out)
    measured = [name for name in names if name != "retrieval"]
    if measured and dataset is None:
        raise OptionError(
            f"{', '.join(measured)}: expected a data set to measure on. Name one by --dataset NAME."
        )
    if exclude and dataset is None:
        raise OptionError("--exclude leaves out photos of a data set: name one by --dataset NAME.")
    with ExitStack() as stack:
        stack.enter_context(lock_folder(folder))
        stack.enter_context(telling_what_is_kept(partial(resumable, folder)))
        entries = ["settings.json", LINES, *files_of(names)]
        claim(folder, FORMAT, entries, what=_WHAT, resume=resume, overwrite=overwrite)

        def counts(settings: dict[str, Any], classes: int) -> CountsFile:
            made = CountsFile(
                folder,
                {"studies": names, **settings},
                classes,
                form=FORMAT,
                what=_WHAT,
                entries=files_of(names),
                owned=files_of([*STUDIES, "retrieval"]),
                resume=resume,
                overwrite=overwrite,
            )
            return stack.enter_context(made)

        for spec in saliency:
            check_encoder(spec, "saliency")
        for spec in phi:
            check_encoder(spec, "phi")
        archives = [one if isinstance(one, ArchiveIndex) else open_index(one) for one in indexes]
        compute = resolve_compute(device, precision)
        used = regions or "superpixels" if "recipe" in names else None
        voting = voting_of(used, vote, None, compute)
        remembered = open_memory(memory) if isinstance(memory, str | Path) else memory
        tables: list[str] = []
        problems: list[str] = []
        data = None
        if dataset is not None:
            data = open_dataset(dataset, root, split, ids=ids)
            if exclude:
                kept = set(names_left([sample.name for sample in data.samples], exclude))
                data = replace(data, samples=tuple(s for s in data.samples if s.name in kept))
            data = as_published(data) if published_quirks else data
        # Encoders whose weights are missing are refused before anything is measured.
        setups = _setups(archives, preset, saliency, phi, k, compute) if measured else []
        searched = _retrieval(archives, labels, compute) if "retrieval" in names else []
        tables += [retrieval_markdown(searched)] if searched else []
        if not measured or data is None:
            with counts({}, 0).writing(files_of(names)):
                problems += _not_drawn("retrieval", write_retrieval(folder, searched))
            return AblateReport(tuple(tables), tuple(problems))
        scored = len(data.space.scored)
        opened: list[CountsFile] = []

        def keep_counts(settings: dict[str, Any]) -> CountsFile:
            opened.append(counts(settings, scored))
            return opened[0]

        words = (
            as_classes(classes) if classes is not None else class_lines(data.space, aliases=aliases)
        )
        base = Baseline(tuple(setups), tuple(words), ("pamr", "crf") if crf else ("pamr",))
        if "recipe" in names:
            base = _with_recipe(base, max(1, len(phi)), remembered, voting)
        chosen = [study(name, base) for name in measured]
        found = run_studies(
            chosen,
            data,
            protocol_of(protocol, data.name, published_quirks=published_quirks),
            counts=keep_counts,
            cache=FeatureCache.open(
                None if cache is None else Path(cache), cache_gigabytes, compute.precision
            ),
            options={"background_threshold": threshold, "background": list(background)},
            precision=compute.precision,
            device=compute.device,
            progress=progress,
        )
        with opened[0].writing(files_of(names)):
            if searched:
                problems += _not_drawn("retrieval", write_retrieval(folder, searched))
            for one in chosen:
                problems += _not_drawn(one.name, write_study(folder, one, found))
                tables.append(study_markdown(one, found))
        return AblateReport(tuple(tables), tuple(problems))


def _setups(
    archives: Sequence[ArchiveIndex],
    preset: str | None,
    saliencies: Sequence[str],
    phis: Sequence[str],
    k: int | None,
    compute: Compute,
) -> list[Setup]:
    """Every archive with every saliency encoder and every phi; each encoder is built once."""
    chosen = preset_of(preset or archives[0].preset or "lite")
    specs = [with_default_form(spec) for spec in saliencies or [chosen.saliency]]
    first, *more = phis or chosen.phi_of(PAPER_RECIPE)
    phi_encoders = [build_phi(first, compute)]
    built = [build_saliency(spec, compute, phi_encoders[0].info) for spec in specs]
    phi_encoders += [build_phi(spec, compute) for spec in more]
    pairs = [  # an encoder that needs features is another one for each phi
        (build_saliency(spec, compute, phi.info) if isinstance(one, NeedsFeatures) else one, phi)
        for spec, one in zip(specs, built, strict=True)
        for phi in phi_encoders
    ]
    setups = []
    for archive in archives:
        spec = archive.info.spec if archive.info is not None else chosen.retrieval
        retrieval = build_retrieval(spec, compute)
        setups += [
            setup_of(archive, Encoders(retrieval, saliency, (phi,)), k) for saliency, phi in pairs
        ]
    return setups


def setup_of(archive: ArchiveIndex, encoders: Encoders, k: int | None = None) -> Setup:
    """An archive and encoders with the encoders' default settings, and perhaps another k."""
    settings = default_settings(encoders.saliency.info, encoders.info.phi, PAPER_RECIPE)
    if k is not None:
        settings = replace(settings, learn=replace(settings.learn, k=k))
    infos = (encoders.info.retrieval, encoders.info.saliency, *encoders.info.phi)
    return Setup(archive, encoders, settings, ", ".join(info.name for info in infos))


def _with_recipe(
    base: Baseline, phis: int, memory: RegionMemory | None, voting: Voting | None
) -> Baseline:
    """The baseline with what the study of the recipe adds to its first setup.

    Args:
        base: The baseline; its first setups have the phi encoders one by one.
        phis: The number of phi encoders.
        memory: A region memory.
        voting: Regions that vote, and how.

    Raises:
        EncoderMismatchError: The memory was made with other encoders.
    """
    first, together = base.setups[0], None
    if phis > 1:
        several = tuple(phi for one in base.setups[:phis] for phi in one.encoders.phi)
        together = setup_of(
            first.index, replace(first.encoders, phi=several), first.settings.learn.k
        )
    if memory is not None:  # before hours of learning
        used = together or first
        shared_phi(memory, ConceptBank((), used.encoders.info, used.settings))
    return replace(base, together=together, voting=voting, memory=memory)


def files_of(names: Sequence[str]) -> list[str]:
    """The files that studies write."""
    return [f"{name}{suffix}" for name in names for suffix in (".md", ".json", ".png")]


def _not_drawn(name: str, problem: str | None) -> list[str]:
    return [f"{name}.png: {problem}"] if problem else []


def _retrieval(
    archives: Sequence[ArchiveIndex], labels: str, compute: Compute
) -> list[RetrievalScores]:
    """Measure retrieval from each index."""
    found = []
    for archive in archives:
        encoder = build_retrieval(archive.info.spec if archive.info else "lite", compute)
        labelled = _labelled(archive, labels)
        found.append(measure_retrieval(archive, encoder, labelled, default_prompts(encoder.info)))
    return found


def _labelled(archive: ArchiveIndex, labels: str) -> LabelledArchive:
    paths = [archive.path(position) for position in range(len(archive))]
    if labels == "imagenet":
        return LabelledArchive.by_imagenet(paths)
    if labels == "folders":
        return LabelledArchive.by_folder(paths)
    return LabelledArchive.by_csv(paths, Path(labels))
