"""Learn classes: retrieve, guide, eliminate context, co-segment."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames, combine_names, parse_classes
from recoseg.concepts import Concept, ConceptBank, ConceptRole, RetrievedPhoto
from recoseg.config import BankSettings
from recoseg.cosegmentation import Cosegmentation, cosegment
from recoseg.cosegmentation.guidance import context_elimination, language_guidance
from recoseg.encoders.bundle import Encoders
from recoseg.encoders.defaults import default_settings
from recoseg.encoders.extract import DenseEncoder
from recoseg.errors import ConceptError, RecosegError
from recoseg.learning.feature_cache import FeatureCache
from recoseg.learning.feature_store import FeatureStore
from recoseg.learning.feature_worker import Extraction
from recoseg.photos.refs import Photo
from recoseg.progress import track
from recoseg.retrieval.class_texts import ClassTexts, check_index
from recoseg.retrieval.duplicates import Hit
from recoseg.retrieval.retriever import Search, retrieve

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LearnedClass:
    """One class just learnt, for figures and reports.

    Attributes:
        concept: What goes into the bank.
        positions: The archive positions of its retrieved photos, best first.
        cosegmentation: Their support scores and seeds.
    """

    concept: Concept
    positions: tuple[int, ...]
    cosegmentation: Cosegmentation


@dataclass(frozen=True)
class _Task:
    """A class to be learnt, and where its words stand among all words."""

    words: ClassNames
    role: ConceptRole
    positive: slice
    negative: slice


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
    callback: Callable[[LearnedClass], object] | None = None,
    progress: bool | None = False,
) -> ConceptBank:
    """Learn the references of classes from an archive (paper, sections 3.2 and 3.3).

    The context classes come first, in order, each already eliminating those before it; then each
    class eliminates all of them. A class that bears a context class's name, or has just its words
    (`vegetation: tree`), takes its reference.
    Every retrieved photo is encoded once, for all classes that share it.

    Args:
        index: The archive.
        classes: What to learn, in order.
        encoders: The retrieval encoder must be the index's own.
        settings: How classes are learnt; by default as the encoders' defaults say. Ignored if a
            bank is given, whose own settings are used.
        bank: A bank to add to; its classes are not computed again, and its context is used.
        store: Where features are kept, for banks that are learnt one after the other and share
            photos; by default one of its own.
        cache: Where features outlive the run, for a store of its own.
        extraction: Where photos are encoded, for a store of its own, such as
            `Extraction(partial(dense_worker, "dino-s16", "RN50"), RayExecutor())`; by default in
            this process.
        search: What finds the photos, such as `search_parts`; by default one pass in this process.
        device: Where co-segmentation runs; the encoders have their own.
        callback: Called with each class as it is learnt, context classes too; not with a class
            that shares a context class's reference.
        progress: See `StageProgress`.

    Returns:
        The bank; unreadable photos are left out of the classes that retrieved them.

    Raises:
        EncoderMismatchError: The index or the bank was made with other encoders, or the workers
            have others.
        ConceptError: A class is in the bank already, or none of its photos can be read.
        RecosegError: The store is of another size, or of other encoders.
    """
    check_index(index, encoders.retrieval)
    if bank is not None:
        bank.check_encoders(saliency=encoders.saliency.info, phi=encoders.info.phi)
    else:
        settings = settings or default_settings(encoders.saliency.info, encoders.info.phi)
        bank = ConceptBank((), encoders.info, settings)
    chosen = bank.settings.learn
    wanted = _wanted(classes, bank)
    words = ClassTexts.of([item for item, _ in wanted])
    tasks = [
        _Task(item, role, positive, negative)
        for (item, role), positive, negative in zip(
            wanted, words.spans.positive, words.spans.negative, strict=True
        )
    ]
    hits = retrieve(
        index,
        words.queries(encoders.retrieval, chosen.prompts),
        chosen.k,
        skip_duplicates=chosen.skip_duplicates or False,
        search=search,
    )
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
                _log.warning("left out: %s: %s", path, store.failures[path])
        steps = list(zip(tasks, hits, strict=True))
        for task, found in track(steps, "Co-segmenting", unit="classes", enabled=progress):
            shared = _shared_with_context(task, texts, bank)
            if shared is not None:
                bank = bank.add([shared])
                continue
            learnt = _learn_one(task, found, index, store, encoders, texts, bank, device)
            bank = bank.add([learnt.concept])
            if callback is not None:
                callback(learnt)
    return bank


def _check_store(store: FeatureStore, used: Sequence[DenseEncoder], image_size: int) -> None:
    """Refuse a store that cannot serve."""
    absent = [encoder.info.name for encoder in used if not store.holds(encoder)]
    if absent:
        raise RecosegError(
            f"The store keeps no features of {', '.join(absent)}. Make it with these encoders."
        )
    if store.image_size != image_size:
        raise RecosegError(
            f"The store keeps features at {store.image_size} pixels, and the settings say "
            f"{image_size}. Make a store of that size."
        )


def _wanted(
    classes: Sequence[ClassNames], bank: ConceptBank
) -> list[tuple[ClassNames, ConceptRole]]:
    """What is to be learnt: the context that the bank lacks, then the classes."""
    present = [concept.name for concept in bank.classes]
    twice = [item.name for item in classes if item.name in present]
    if twice:
        raise ConceptError(
            f"The bank already holds: {', '.join(twice)}. Remove them first to learn them anew."
        )
    known = {concept.name for concept in bank.context}
    context = parse_classes(bank.settings.learn.context) if bank.settings.learn.context else []
    roles: list[tuple[ClassNames, ConceptRole]] = [
        (item, "context") for item in context if item.name not in known
    ]
    return roles + [(item, "class") for item in classes]


def _learn_one(
    task: _Task,
    hits: Sequence[Hit],
    index: ArchiveIndex,
    store: FeatureStore,
    encoders: Encoders,
    texts: Float[Tensor, "m d"],
    bank: ConceptBank,
    device: torch.device | str,
) -> LearnedClass:
    """The references of one class, one for each phi; seeds are found anew for each."""
    photos = [(hit, index.photo(hit.position)) for hit in hits]
    photos = [(hit, photo) for hit, photo in photos if photo.id in store]
    if not photos:
        raise ConceptError(
            f"None of the {len(hits)} photos retrieved for {task.words.name!r} can be read any "
            "more. Is the archive still where the index says?"
        )
    ids = [photo.id for _, photo in photos]
    settings = bank.settings.learn
    scores = None
    if settings.guidance:
        positive, negative = (
            store.text_cosines(encoders.saliency, ids, texts[part]).movedim(1, -1)
            for part in (task.positive, task.negative)
        )
        scores = combine_names(positive, negative)
    found: dict[str, Cosegmentation] = {}
    for info, phi in zip(bank.encoders.phi, encoders.phi, strict=True):
        features = store.features(phi, ids)
        found[info.key] = cosegment(
            features.to(device),
            _weights(features, scores, bank, info.key),
            seeds_per_image=settings.seeds_per_image,
            block=settings.block,
            reference=settings.reference,
            border=settings.border,
            weigh_seeds=settings.weigh_seeds,
        ).cpu()
    first = found[bank.encoders.phi[0].key]
    concept = Concept(
        words=task.words,
        role=task.role,
        references={key: result.reference[None] for key, result in found.items()},
        text_positive=texts[task.positive],
        text_negative=texts[task.negative],
        retrieved=_retrieved(photos, first),
    )
    return LearnedClass(concept, tuple(hit.position for hit, _ in photos), first)


def _shared_with_context(
    task: _Task, texts: Float[Tensor, "m d"], bank: ConceptBank
) -> Concept | None:
    """The class with the references of the context class of its name or of exactly its words."""
    for other in bank.context:
        if other.name == task.words.name or _same_words(other.words, task.words):
            positive, negative = texts[task.positive], texts[task.negative]
            return Concept(
                task.words, "class", other.references, positive, negative, other.retrieved
            )
    return None


def _same_words(one: ClassNames, other: ClassNames) -> bool:
    """Whether two classes are the same by another name, as `vegetation: tree` and `tree`."""
    return (set(one.prompts), set(one.negatives)) == (set(other.prompts), set(other.negatives))


def _weights(
    features: Float[Tensor, "k C h w"],
    scores: Float[Tensor, "k gh gw"] | None,
    bank: ConceptBank,
    phi: str,
) -> Float[Tensor, "k h w"] | None:
    """Guidance by the text scores, if given, times the elimination of the bank's context.

    Args:
        features: Features of one phi.
        scores: Text scores of the same photos.
        bank: Whose settings and context count.
        phi: Key of that phi.
    """
    settings = bank.settings.learn
    weights: Tensor | None = None
    if scores is not None:
        weights = language_guidance(
            scores,
            (features.shape[2], features.shape[3]),
            settings.guidance_scale,
            settings.guidance_offset,
        )
    if bank.context:
        kept = context_elimination(features, [concept.references[phi] for concept in bank.context])
        weights = kept if weights is None else weights * kept
    return weights


def _retrieved(
    photos: Sequence[tuple[Hit, Photo]], result: Cosegmentation
) -> tuple[RetrievedPhoto, ...]:
    retrieved = []
    for row, (hit, photo) in enumerate(photos):
        seeds = [(int(y), int(x)) for y, x in result.seeds[row].tolist()]
        support = tuple(float(result.support[row, y, x]) for y, x in seeds)
        retrieved.append(RetrievedPhoto(photo.path, photo.id, hit.score, tuple(seeds), support))
    return tuple(retrieved)
