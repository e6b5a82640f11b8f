"""Learn classes: retrieve, guide, eliminate context, co-segment."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.allocator import LIMIT, memory_limit
from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames, combine_names, parse_classes
from recoseg.concepts import Concept, ConceptBank, ConceptRole
from recoseg.config import BankSettings
from recoseg.cosegmentation import Cosegmentation, cosegment, distinctive, mend_outliers
from recoseg.cosegmentation.guidance import context_elimination, language_guidance
from recoseg.encoders.bundle import Encoders
from recoseg.encoders.defaults import default_settings
from recoseg.encoders.extract import ENCODING_BYTES, DenseEncoder
from recoseg.errors import ConceptError, RecosegError
from recoseg.evidence import Evidence, RetrievedPhoto
from recoseg.learning.context import eliminated, shared_with_context
from recoseg.learning.feature_cache import FeatureCache
from recoseg.learning.feature_store import FeatureStore
from recoseg.learning.feature_worker import Extraction
from recoseg.learning.seed_regions import seed_regions
from recoseg.photos.refs import Photo
from recoseg.progress import track
from recoseg.retrieval.class_texts import ClassTexts, check_index
from recoseg.retrieval.duplicates import Hit
from recoseg.retrieval.retriever import Search, retrieve
from recoseg.retrieval.spread import Spread, measure

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LearnedClass:
    """A class that has just been learnt, for figures and reports.

    Attributes:
        concept: The concept that is added to the bank.
        positions: Positions of its retrieved photos in the archive, best first.
        cosegmentation: Support scores and seeds of these photos.
    """

    concept: Concept
    positions: tuple[int, ...]
    cosegmentation: Cosegmentation


@dataclass(frozen=True)
class _Task:
    """A class to learn, and the rows of its words among all text embeddings."""

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
        callback: Called with each class when it has been learnt, including context classes, but
            not with a class that shares the references of a context class.
        progress: See `StageProgress`.

    Returns:
        The bank; unreadable photos are left out of the classes that retrieved them.

    Raises:
        EncoderMismatchError: The index or the bank was made with other encoders, or the workers
            have other encoders.
        ConceptError: A class is in the bank already, or none of its photos can be read.
        RecosegError: The store has another image size or lacks an encoder.
    """
    check_index(index, encoders.retrieval)
    if bank is not None:
        bank.check_encoders(saliency=encoders.saliency.info, phi=encoders.info.phi)
    else:
        settings = settings or default_settings(encoders.saliency.info, encoders.info.phi)
        bank = ConceptBank((), encoders.info, settings)
    chosen = bank.settings.learn
    seed_regions(chosen.regions)  # refused before the photos are encoded
    _check_image_size(chosen.image_size)
    to_learn = _classes_to_learn(classes, bank)
    words = ClassTexts.of([item for item, _ in to_learn])
    tasks = [
        _Task(item, role, positive, negative)
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
        tracked = track(steps, "Co-segmenting", unit="classes", enabled=progress)
        for place, (task, found) in enumerate(tracked):
            shared = shared_with_context(
                task.words, texts[task.positive], texts[task.negative], bank
            )
            if shared is not None:
                bank = bank.add([shared])
                continue
            learnt = _learn_one(task, found, index, store, encoders, texts, bank, device)
            learnt = _with_evidence(learnt, spread, place)
            bank = bank.add([learnt.concept])
            if callback is not None:
                callback(learnt)
    return bank


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
    """Learn the references of one class, for each phi by its own features."""
    photos = [(hit, index.photo(hit.position)) for hit in hits]
    photos = [(hit, photo) for hit, photo in photos if photo.id in store]
    if not hits:
        raise ConceptError(
            f"The index has no photo for {task.words.name!r}: it is empty, or its selection leaves "
            "out all. Index photos with `recoseg index`."
        )
    if not photos:
        raise ConceptError(
            f"None of the {len(hits)} photos retrieved for {task.words.name!r} can be read. Check "
            "that the photos are still at the paths recorded in the index."
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
    context = eliminated(task.words, task.role, bank)
    maps = [store.features(phi, ids) for phi in encoders.phi]
    if settings.mend_outliers:
        maps = [mend_outliers(features) for features in maps]
    provider = seed_regions(settings.regions)
    regions = [
        None if provider is None else torch.stack(provider.regions_of([features]))
        for features in maps
    ]
    found: dict[str, Cosegmentation] = {}
    for info, features, labels in zip(bank.encoders.phi, maps, regions, strict=True):
        found[info.key] = cosegment(
            features.to(device),
            _weights(features, scores, bank, [one.references[info.key] for one in context]),
            seeds_per_image=settings.seeds_per_image,
            block=settings.block,
            reference=settings.reference,
            border=settings.border,
            weigh_seeds=settings.weigh_seeds,
            compared=distinctive(features.to(device)) if settings.mend_outliers else None,
            regions=labels,
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


def _with_evidence(learnt: LearnedClass, spread: Spread | None, place: int) -> LearnedClass:
    """A class with what its photos are compared with; `place` is its place in the spread."""
    if spread is None or not spread.step > 0:
        return learnt
    alike = learnt.cosegmentation.seeds_alike
    evidence = Evidence(spread.photos, spread.medians[place], spread.step, alike)
    return replace(learnt, concept=replace(learnt.concept, evidence=evidence))


def _weights(
    features: Float[Tensor, "k C h w"],
    scores: Float[Tensor, "k gh gw"] | None,
    bank: ConceptBank,
    context: Sequence[Float[Tensor, "_ C"]],
) -> Float[Tensor, "k h w"] | None:
    """Weights of language guidance (with text scores only) times weights of context elimination.

    Args:
        features: Features of one phi.
        scores: Text scores of the same photos.
        bank: Bank whose settings are used.
        context: References, by the same phi, of the context classes to eliminate.
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
    if context:
        kept = context_elimination(features, context)
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
