"""Learn classes: retrieve, guide, eliminate context, co-segment."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace

import torch

from recoseg.allocator import LIMIT, memory_limit
from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames, parse_classes
from recoseg.concepts import Concept, ConceptBank, ConceptRole
from recoseg.config import BankSettings, LearnSettings
from recoseg.encoders.bundle import Encoders
from recoseg.encoders.defaults import default_settings
from recoseg.encoders.extract import ENCODING_BYTES, DenseEncoder
from recoseg.errors import ConceptError, RecosegError
from recoseg.evidence import Correction
from recoseg.learning.context import as_class, shared_with_context
from recoseg.learning.feature_cache import FeatureCache
from recoseg.learning.feature_store import FeatureStore
from recoseg.learning.feature_worker import Extraction
from recoseg.learning.one_class import (
    SEED_SETTINGS,
    LearnedClass,
    Task,
    learn_one,
    with_evidence,
)
from recoseg.learning.seed_regions import seed_regions
from recoseg.progress import track
from recoseg.retrieval.class_texts import ClassTexts, check_index
from recoseg.retrieval.duplicates import Hit
from recoseg.retrieval.retriever import Search, retrieve
from recoseg.retrieval.spread import measure, until_evidence_ends

_log = logging.getLogger(__name__)


def learn_bank(
    index: ArchiveIndex,
    classes: Sequence[ClassNames],
    encoders: Encoders,
    settings: BankSettings | None = None,
    *,
    bank: ConceptBank | None = None,
    store: FeatureStore | None = None,
    cache: FeatureCache | None = None,
    extraction: Extraction | None = None,
    search: Search | None = None,
    device: torch.device | str = "cpu",
    corrections: Mapping[str, Sequence[Correction]] | None = None,
    callback: Callable[[LearnedClass], object] | None = None,
    progress: bool | None = False,
) -> ConceptBank:
    """Learn the references of classes from an archive (paper, sections 3.2 and 3.3).

    The context classes are learnt first, in order, and each eliminates those before it. Then each
    class eliminates all of them. A class that has exactly the words of a context class
    (`vegetation: tree`) shares the references of that class. A class that shares some of them
    (`vegetation: tree; bush`) does not eliminate it, and a note names both. By the recipe `paper`
    it does, and a class that has only the name of a context class shares its references, too. Every
    retrieved photo is encoded once for all classes that share it.

    Args:
        index: The archive.
        classes: Classes to learn, in order.
        encoders: The encoders; the retrieval encoder must be the one that made the index.
        settings: How classes are learnt. By default the default settings of the encoders. Ignored
            if `bank` is given, whose settings are used.
        bank: Bank to add to. Its classes are not computed again, and its context is used.
        store: Store of features, for several banks that share photos. By default a temporary one.
        cache: Cache that keeps features after the run; used if no store is given.
        extraction: How and where photos are encoded, such as
            `Extraction(partial(dense_worker, "dino-s16", "RN50"), RayExecutor())`; used if no
            store is given. By default in this process.
        search: Function that finds the photos, such as `search_parts`. By default one pass over
            the index in this process.
        device: Device of co-segmentation; the encoders have devices of their own.
        corrections: Seeds that the user has set by hand, by the name of their class.
        callback: Called with each class when it has been learnt, including context classes and
            those that share the references of a context class.
        progress: See `StageProgress`.

    Returns:
        The bank; unreadable photos are left out of the classes that retrieved them.

    Raises:
        EncoderMismatchError: The index or the bank was made with other encoders, or the workers
            have other encoders.
        ConceptError: A class is in the bank already, or none of its photos can be read.
        RecosegError: The store has another image size or lacks an encoder.
    """
    if bank is None:
        settings = settings or default_settings(encoders.saliency.info, encoders.info.phi)
        bank = ConceptBank((), encoders.info, settings)
    [bank] = learn_together(
        index,
        classes,
        encoders,
        [bank],
        store=store,
        cache=cache,
        extraction=extraction,
        search=search,
        device=device,
        corrections=corrections,
        callback=None if callback is None else lambda found: callback(*found),
        progress=progress,
    )
    return bank


def learn_together(
    index: ArchiveIndex,
    classes: Sequence[ClassNames],
    encoders: Encoders,
    banks: Sequence[ConceptBank],
    *,
    store: FeatureStore | None = None,
    cache: FeatureCache | None = None,
    extraction: Extraction | None = None,
    search: Search | None = None,
    device: torch.device | str = "cpu",
    corrections: Mapping[str, Sequence[Correction]] | None = None,
    callback: Callable[[Sequence[LearnedClass]], object] | None = None,
    progress: bool | None = False,
) -> list[ConceptBank]:
    """Add the same classes to banks that differ only in how seeds are chosen.

    The patches of the photos of each class are compared once for all banks, which is most of the
    work. Each bank equals that of `learn_bank` within the rounding of fp32.

    Args:
        index: The archive.
        classes: Classes to learn, in order; with none, the context that the banks lack is learnt.
        encoders: The encoders, as for `learn_bank`.
        banks: The banks to add to, at least one. All that `in_common` gives is the same.
        store: As for `learn_bank`, and so are all arguments that follow.
        cache: Cache that keeps features after the run.
        extraction: How and where photos are encoded.
        search: Function that finds the photos.
        device: Device of co-segmentation.
        corrections: Seeds that the user has set by hand, in all banks.
        callback: Called with each class as it has been learnt for each bank.
        progress: See `StageProgress`.

    Returns:
        The banks, in the same order.

    Raises:
        EncoderMismatchError: As by `learn_bank`.
        ConceptError: As by `learn_bank`.
        RecosegError: As by `learn_bank`, or the banks cannot be learnt together.
    """
    banks = list(banks)
    bank = banks[0]
    check_index(index, encoders.retrieval)
    bank.check_encoders(saliency=encoders.saliency.info, phi=encoders.info.phi)
    if any(in_common(other) != in_common(bank) for other in banks[1:]):
        raise RecosegError(
            "Expected banks with the same encoders, recipe and classes, whose settings of learning "
            f"differ only in {', '.join(SEED_SETTINGS)}. Learn the others one by one."
        )
    chosen = bank.settings.learn
    seed_regions(chosen.regions)  # refused before the photos are encoded
    _check_image_size(chosen.image_size)
    to_learn = _classes_to_learn(classes, bank)
    if not to_learn:
        return banks
    words = ClassTexts.of([item for item, _ in to_learn])
    tasks = [
        Task(item, role, positive, negative)
        for (item, role), positive, negative in zip(
            to_learn, words.spans.positive, words.spans.negative, strict=True
        )
    ]
    queries = words.queries(encoders.retrieval, chosen.prompts)
    hits = retrieve(
        index,
        queries,
        chosen.k,
        skip_duplicates=chosen.skip_duplicates or False,
        search=search,
    )
    spread = measure(index, queries, encoders.retrieval, chosen.prompts)
    hits = until_evidence_ends(hits, spread, chosen.least_k)
    texts = words.embed(encoders.saliency, chosen.prompts)
    used = [*encoders.phi, *([encoders.saliency] if chosen.guidance else [])]
    with ExitStack() as stack:
        if store is None:
            store = stack.enter_context(FeatureStore(used, chosen.image_size, cache, extraction))
        else:
            _check_store(store, used, chosen.image_size)
        positions = sorted({hit.position for found in hits for hit in found})
        store.fill(index, positions, progress=progress)
        for path in (index.path(position) for position in positions):
            if path in store.failures:
                _log.warning("Left out: %s: %s", path, store.failures[path])
        steps = list(zip(tasks, hits, strict=True))
        tracked = track(steps, "Co-segmenting", unit="classes", enabled=progress)
        of_context: dict[str, list[LearnedClass]] = {}
        for place, (task, found) in enumerate(tracked):
            by_hand = (corrections or {}).get(task.words.name, ())
            shared = [] if task.role == "context" else _shared(task.words, banks)
            if not shared:
                learnt = learn_one(
                    task, found, index, store, encoders, texts, banks, device, by_hand
                )
                learnt = [with_evidence(one, spread, place) for one in learnt]
                concepts = [one.concept for one in learnt]
                if task.role == "context":
                    of_context[task.words.name] = learnt
            else:
                if by_hand:
                    raise ConceptError(
                        f"{task.words.name!r} shares the references of the context class "
                        f"{shared[0].name!r}, so its seeds cannot be set. Learn a bank without "
                        "that context class."
                    )
                positive, negative = texts[task.positive], texts[task.negative]
                concepts = [as_class(one, task.words, positive, negative) for one in shared]
                learnt = of_context.get(shared[0].name, [])
                if not learnt and callback is not None:
                    before = (
                        _learnt_before(one, found, index, store, encoders, bank, device)
                        for one, bank in zip(shared, banks, strict=True)
                    )
                    learnt = [one for one in before if one is not None]
                if len(learnt) < len(banks):
                    learnt = []
                else:
                    pairs = zip(learnt, concepts, strict=True)
                    learnt = [replace(one, concept=concept) for one, concept in pairs]
            banks = [bank.add([concept]) for bank, concept in zip(banks, concepts, strict=True)]
            if callback is not None and learnt:
                callback(learnt)
    return banks


def in_common(bank: ConceptBank) -> tuple[object, ...]:
    """What banks have to have in common to be learnt together; it can be compared."""
    same = {name: getattr(LearnSettings, name) for name in SEED_SETTINGS}
    words = tuple((concept.role, concept.words) for concept in bank.concepts)
    return bank.encoders, replace(bank.settings.learn, **same), bank.settings.recipe, words


def _shared(words: ClassNames, banks: Sequence[ConceptBank]) -> list[Concept]:
    """The context class of each bank whose references a class takes; empty if it takes none."""
    found = (shared_with_context(words, bank) for bank in banks)
    return [concept for concept in found if concept is not None]


def _learnt_before(
    context: Concept,
    found: Sequence[Hit],
    index: ArchiveIndex,
    store: FeatureStore,
    encoders: Encoders,
    bank: ConceptBank,
    device: torch.device | str,
) -> LearnedClass | None:
    """A context class of a bank as it was learnt; None if the archive lacks its photos by now."""
    known = {photo.photo_id for photo in context.retrieved}
    same = [hit for hit in found if index.photo_id(hit.position) in known]
    if not any(index.photo_id(hit.position) in store for hit in same):
        return None
    texts = torch.cat([context.text_positive, context.text_negative])
    end = len(context.text_positive)
    task = Task(context.words, "context", slice(0, end), slice(end, len(texts)))
    place = [one.name for one in bank.context].index(context.name)
    before = replace(bank, concepts=bank.context[:place])
    [learnt] = learn_one(task, same, index, store, encoders, texts, [before], device)
    return learnt


def _check_store(store: FeatureStore, used: Sequence[DenseEncoder], image_size: int) -> None:
    """Refuse a store that lacks an encoder or has another image size."""
    absent = [encoder.info.name for encoder in used if not store.holds(encoder)]
    if absent:
        raise RecosegError(
            f"The feature store has no features of {', '.join(absent)}. Create it with these "
            "encoders."
        )
    if store.image_size != image_size:
        raise RecosegError(
            f"Expected a feature store with an image size of {image_size} pixels, as in the "
            f"settings; got {store.image_size}. Create a store of that size."
        )


def _check_image_size(side: int) -> None:
    """Refuse a size, which may be that of anyone's bank, at which not one photo can be encoded."""
    needed, limit = ENCODING_BYTES * side**2, memory_limit()
    if needed > limit:
        raise RecosegError(
            f"image_size is {side}, with which each photo needs about {needed / 1e9:.1f} GB of "
            f"memory, more than the limit of {limit / 1e9:.1f} GB. Use a bank with a smaller "
            f"image_size, or set {LIMIT} (GB)."
        )


def _classes_to_learn(
    classes: Sequence[ClassNames], bank: ConceptBank
) -> list[tuple[ClassNames, ConceptRole]]:
    """The classes to learn: context classes that the bank lacks, then `classes`."""
    present = [concept.name for concept in bank.classes]
    twice = [item.name for item in classes if item.name in present]
    if twice:
        raise ConceptError(
            f"The bank already holds: {', '.join(twice)}. Remove them first to learn them again."
        )
    known = {concept.name for concept in bank.context}
    context = parse_classes(bank.settings.learn.context) if bank.settings.learn.context else []
    roles: list[tuple[ClassNames, ConceptRole]] = [
        (item, "context") for item in context if item.name not in known
    ]
    return roles + [(item, "class") for item in classes]
