"""Learning a concept bank from class names and an index (`recoseg learn`)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from recoseg.archive.index import ArchiveIndex
from recoseg.concepts import ConceptBank
from recoseg.decoders.sam3 import Sam3Decoder, load_decoder
from recoseg.device import resolve_compute
from recoseg.encoders.bundle import Encoders, load_encoders
from recoseg.encoders.defaults import default_settings
from recoseg.encoders.licences import tell_licences_of
from recoseg.encoders.presets import preset as preset_of
from recoseg.encoders.protocols import DenseImageEncoder, DenseTextEncoder, ImageTextEncoder
from recoseg.encoders.recipes import recipe_of
from recoseg.errors import ConceptError, OptionError, OutputError, RecosegError
from recoseg.executors import Executor, LocalExecutor
from recoseg.learning.feature_cache import FeatureCache
from recoseg.learning.feature_worker import Extraction, dense_worker
from recoseg.learning.figure_folder import FigureWriter, check_figures
from recoseg.learning.kept_features import kept_for_next_run, say_what_is_kept
from recoseg.learning.learner import learn_bank
from recoseg.learning.one_class import LearnedClass
from recoseg.memory.region_memory import RegionMemory, open_memory
from recoseg.pipeline.checks import (
    check_encoder,
    check_output_file,
    check_output_folder,
    refuse_to_replace,
)
from recoseg.pipeline.classes import Classes, as_classes
from recoseg.pipeline.index import open_index
from recoseg.pipeline.learn_prompts import learn_prompts, own_supports, tell_lost
from recoseg.pipeline.learn_settings import check_settings, settings_given
from recoseg.pipeline.relearn import (
    Pixels,
    corrections_for,
    in_former_order,
    without_classes,
    without_photos,
)
from recoseg.pipeline.retrieve import search_in
from recoseg.pipeline.save_bank import save_bank
from recoseg.progress import telling_what_is_kept
from recoseg.segmentation.memory_branch import shared_phi
from recoseg.storage.locks import lock_file

_log = logging.getLogger(__name__)


def learn(
    index: ArchiveIndex | str | Path,
    classes: Classes,
    *,
    out: str | Path | None = None,
    add_to: ConceptBank | str | Path | None = None,
    relearn: bool = False,
    reject: Sequence[str] = (),
    seeds: Mapping[str, Pixels | None] | None = None,
    encoders: Encoders | None = None,
    recipe: str | None = None,
    preset: str | None = None,
    retrieval: str | ImageTextEncoder | None = None,
    saliency: str | DenseTextEncoder | None = None,
    phi: str | DenseImageEncoder | Sequence[str | DenseImageEncoder] | None = None,
    aliases: bool = False,
    memory: RegionMemory | str | Path | None = None,
    decoder: str | Sam3Decoder | None = None,
    support: str | Path | None = None,
    figures: str | Path | None = None,
    overwrite: bool = False,
    cache: str | Path | None = None,
    cache_gigabytes: float = 10.0,
    executor: Executor | None = None,
    device: str = "auto",
    precision: str = "auto",
    callback: Callable[[LearnedClass], object] | None = None,
    progress: bool | None = False,
    **settings: Any,
) -> ConceptBank:
    """Learn classes: retrieve photos of each and find the patches that they have in common.

    Args:
        index: The index, or its path or URL.
        classes: Lines such as `sofa; couch; -bed`, a file of such lines, or the name of a label
            space.
        out: File of the bank to write, `.safetensors`; None writes no file. One that exists is
            only replaced if it is `add_to` itself, or by `overwrite`.
        add_to: Bank, or its file, to which the classes are added. Its context, encoders and
            settings are used.
        relearn: Whether the classes, all of which `add_to` holds already, are learnt again at
            their places.
        reject: Paths of photos, or the ends of their paths, that nothing is learnt from.
        seeds: Seeds of the one class that is learnt again, by the path of a photo that it was
            learnt from, or the end of the path: pixels (x, y) of the whole photo. An empty list
            drops the photo's seed, None takes the one that is found. The bank keeps them.
        encoders: Encoders that are loaded already; see `load_encoders`. If None, each encoder is
            taken from the arguments below, or else from `add_to`, the index or the preset.
        recipe: Name of the recipe whose settings the bank gets; see `recoseg.encoders.recipes`. By
            default the one that suits the encoders: `regions` for `lite`, `paper` for others.
        preset: Name of a choice of encoders. By default that of the index.
        retrieval: The encoder that made the index.
        saliency: The dense text encoder that guides co-segmentation.
        phi: The dense image encoder. If there are several, the bank has references for each.
        aliases: Whether to use the aliases and background words of a label space as well.
        memory: Region memory, or its folder or URL, that photos are to be segmented with. The bank
            records which one it was; segmenting without it, or with another one, tells so.
        decoder: Decoder whose prompts are learnt as well, one for each class, from its photos and
            their regions: `sam3`, `sam3=FOLDER`, or one that `load_decoder` loaded; see
            `learn_prompt`.
        support: Folder of photos with masks of one's own, from which these prompts are learnt
            instead, for classes that have masks there; see `find_supports`.
        figures: Folder for a co-segmentation figure of each class; None draws no figures.
        overwrite: Whether to replace the file of the bank, and the figures of an earlier run. With
            `add_to` only figures of classes that are learnt are replaced, in any case.
        cache: Folder where features of photos are kept for the next bank. Without one, a run that
            writes a bank keeps them for the next run; see `kept_for_next_run`.
        cache_gigabytes: Maximum size of that folder, GB; least recently used entries are removed
            first.
        executor: Executor that runs search and encoding. By default they run in this process.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        precision: `auto`, `fp32`, `bf16` or `fp16`.
        callback: Called with each class when it has been learnt.
        progress: See `StageProgress`.
        **settings: Fields of `LearnSettings` that differ from the encoders' defaults, such as
            `k=20` or `context=("sky", "road")`; None leaves the default. `k="auto"` learns each
            class from the photos that stand out, 20 to 50, and from 50 where hardly any does.

    Returns:
        The bank.

    Raises:
        ConceptError: A class cannot be read or is in the bank already, or none of its photos can
            be read.
        ArchiveError: The index was not found.
        OutputError: The file of the bank exists, or the folder holds figures of an earlier run.
        EncoderMismatchError: The index, the bank or the memory was made with other encoders.
        RecosegError: An output cannot be written, or a setting is out of range.
    """
    to_learn = as_classes(classes, aliases=aliases)
    if recipe is not None:
        recipe_of(recipe)
        if add_to is not None:
            raise OptionError(
                "A bank that classes are added to keeps its recipe; --recipe would have no effect. "
                "Leave it out, or learn a new bank."
            )
    if relearn and add_to is None:
        raise OptionError(
            "--relearn learns classes of a bank again. Name the bank by --add-to BANK."
        )
    changes = settings_given(settings)
    file = None if out is None else check_output_file(out, [".safetensors"])
    if figures is not None:
        drawn = check_output_folder(figures)
        check_figures(drawn, replaces=overwrite or add_to is not None)
    names = [item.name for item in to_learn]
    masks = own_supports(support, names, has_decoder=decoder is not None)
    archive = index if isinstance(index, ArchiveIndex) else open_index(index)
    if reject:
        archive = without_photos(archive, reject)
    if isinstance(memory, str | Path):
        memory = open_memory(memory)
    with nullcontext() if file is None else lock_file(file):
        if file is not None:
            refuse_to_replace(file, overwrite=overwrite, source=add_to)
        # Read under the lock, so that no class is lost that another process is adding.
        bank = ConceptBank.load(add_to) if isinstance(add_to, str | Path) else add_to
        former = bank
        by_hand = corrections_for(former, names, seeds or {})
        if bank is not None:
            bank = without_classes(bank, names) if relearn else bank
            _check_new(bank, names)
            check_settings(bank, changes)
        loaded = encoders is not None
        if encoders is None:
            chosen = choose_encoders(archive, bank, preset, retrieval, saliency, phi, recipe)
            encoders = load_encoders(**chosen, device=device, precision=precision)
        infos = encoders.info
        tell_licences_of((infos.retrieval, infos.saliency, *infos.phi))
        if bank is None:
            defaults = default_settings(encoders.saliency.info, encoders.info.phi, recipe)
            found = preset_of(preset or archive.preset or "lite").decoder
            segment = replace(defaults.segment, decoder=found)
            defaults = replace(defaults, segment=segment)
            bank = ConceptBank(
                (), encoders.info, replace(defaults, learn=replace(defaults.learn, **changes))
            )
        if memory is not None:
            bank = _with_memory(bank, memory)
        compute = encoders.compute or resolve_compute(device, precision)
        if isinstance(decoder, str):
            decoder = load_decoder(decoder, compute)
        runner = executor or LocalExecutor()
        draw = None
        if figures is not None:
            size = bank.settings.learn.image_size
            folder = Path(figures)
            update = former is not None  # figures of its other classes stay
            draw = FigureWriter(archive, folder, size, overwrite=overwrite, update=update)

        unwritten: list[str] = []
        learnt: list[LearnedClass] = []

        def learned(item: LearnedClass) -> None:
            if decoder is not None:
                learnt.append(item)
            if draw is not None and not unwritten:
                try:
                    draw(item)
                except OutputError as error:  # the bank is worth the work without figures, too
                    unwritten.append(item.concept.name)
                    _log.warning("No more figures are written: %s", error)
            if callback is not None:
                callback(item)

        with ExitStack() as stack:
            kept = None if cache is None else Path(cache)
            if kept is None and file is not None and executor is None and not loaded:
                kept = stack.enter_context(kept_for_next_run(archive, bank))
            stack.enter_context(telling_what_is_kept(partial(say_what_is_kept, kept)))
            stack.enter_context(draw or nullcontext())
            stack.enter_context(runner.connection())
            bank = learn_bank(
                archive,
                to_learn,
                encoders,
                bank=bank,
                cache=FeatureCache.open(kept, cache_gigabytes, compute.precision),
                extraction=None
                if executor is None
                else _extraction(executor, bank, device, precision),
                search=None if executor is None else search_in(executor, archive),
                device=compute.device if compute.device.type == "cuda" else "cpu",
                corrections=by_hand,
                callback=learned,
                progress=progress,
            )
            if decoder is not None:
                bank = learn_prompts(
                    *(bank, learnt, archive, decoder, encoders.retrieval, masks),
                    kept=kept,
                    progress=progress,
                )
            else:
                tell_lost(former, bank)
            if former is not None and relearn:
                bank = in_former_order(former, bank)
            if file is not None:
                save_bank(bank, file)
    return bank


def choose_encoders(
    index: ArchiveIndex,
    bank: ConceptBank | None,
    preset: str | None,
    retrieval: Any = None,
    saliency: Any = None,
    phi: Any = None,
    recipe: str | None = None,
) -> dict[str, Any]:
    """Choose each encoder from the arguments, or else from the bank, the index or the preset.

    The names of the encoders are checked.

    Returns:
        The arguments `retrieval`, `saliency` and `phi` of `load_encoders`.
    """
    chosen = preset_of(preset or index.preset or "lite")
    names: dict[str, Any] = {
        "retrieval": chosen.retrieval,
        "saliency": chosen.saliency,
        "phi": list(chosen.phi_of(recipe)),
    }
    if index.info is not None and preset is None:
        names["retrieval"] = index.info
    if bank is not None:
        made_by = bank.encoders
        names["retrieval"], names["saliency"] = made_by.retrieval, made_by.saliency
        names["phi"] = list(made_by.phi)
    given = {"retrieval": retrieval, "saliency": saliency, "phi": phi or None}
    names |= {role: value for role, value in given.items() if value is not None}
    for role in ("retrieval", "saliency", "phi"):
        for spec in names[role] if isinstance(names[role], list | tuple) else [names[role]]:
            check_encoder(spec, role)
    return names


def _with_memory(bank: ConceptBank, memory: RegionMemory) -> ConceptBank:
    """The bank with a record of the memory, which has to fit to its encoders."""
    shared_phi(memory, bank)
    recorded = replace(bank.settings.segment, memory=memory.location, memory_content=memory.content)
    return replace(bank, settings=replace(bank.settings, segment=recorded))


def _check_new(bank: ConceptBank, names: Sequence[str]) -> None:
    present = {concept.name for concept in bank.classes}
    twice = [name for name in names if name in present]
    if twice:
        raise ConceptError(
            f"The bank already holds: {', '.join(twice)}. Add --relearn to learn them again."
        )


def _extraction(executor: Executor, bank: ConceptBank, device: str, precision: str) -> Extraction:
    """Extraction by workers of an executor, which build the bank's dense encoders themselves."""
    infos = [*bank.encoders.phi, bank.encoders.saliency]
    for info in infos:
        try:
            check_encoder(info, "phi" if info in bank.encoders.phi else "saliency")
        except RecosegError as error:
            raise RecosegError(
                f"The workers of an executor cannot build the encoder {info.name!r}: {error} Use "
                "encoders that are listed by `recoseg encoders`, or learn without an executor."
            ) from error
    saliency = bank.encoders.saliency if bank.settings.learn.guidance else None
    build = partial(
        dense_worker,
        list(bank.encoders.phi),
        saliency,
        device=device,
        precision=precision,
        threads=getattr(executor, "cpus", None),
    )
    return Extraction(build, executor)
