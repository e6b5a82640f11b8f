"""Learn one class for one or more banks: guide, eliminate context, co-segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames, combine_names
from recoseg.concepts import Concept, ConceptBank, ConceptRole
from recoseg.cosegmentation import (
    Cosegmentation,
    SeedChoice,
    cosegment_several,
    distinctive,
    mend_outliers,
)
from recoseg.cosegmentation.guidance import context_elimination, language_guidance
from recoseg.encoders.bundle import Encoders
from recoseg.errors import ConceptError
from recoseg.evidence import Correction, Evidence, RetrievedPhoto
from recoseg.learning.context import eliminated
from recoseg.learning.corrections import NO_SEED, corrected, still_there
from recoseg.learning.feature_store import FeatureStore
from recoseg.learning.seed_regions import seed_regions
from recoseg.learning.support_regions import distinction
from recoseg.photos.refs import Photo
from recoseg.retrieval.duplicates import Hit
from recoseg.retrieval.spread import Spread
from recoseg.storage.counts import count_of

SEED_SETTINGS = ("seeds_per_image", "block", "reference", "border", "weigh_seeds")
"""The settings of learning that banks which are learnt together may have of their own."""


@dataclass(frozen=True)
class LearnedClass:
    """A class that has just been learnt, for figures and reports.

    Attributes:
        concept: The concept that is added to the bank.
        positions: Positions of its retrieved photos in the archive, best first.
        cosegmentation: Support scores and seeds of these photos.
        distinct: How much more each patch resembles the reference than the context classes that
            are eliminated, by the first phi; see `distinction`.
    """

    concept: Concept
    positions: tuple[int, ...]
    cosegmentation: Cosegmentation
    distinct: Float[Tensor, "k h w"]


@dataclass(frozen=True)
class Task:
    """A class to learn.

    Attributes:
        words: Its name and words.
        role: Its role in the bank.
        positive: The rows of its words among all text embeddings.
        negative: Those of its negative words.
    """

    words: ClassNames
    role: ConceptRole
    positive: slice
    negative: slice


def learn_one(
    task: Task,
    hits: Sequence[Hit],
    index: ArchiveIndex,
    store: FeatureStore,
    encoders: Encoders,
    texts: Float[Tensor, "m d"],
    banks: Sequence[ConceptBank],
    device: torch.device | str,
    corrections: Sequence[Correction] = (),
) -> list[LearnedClass]:
    """Learn the references of one class for each bank, and for each phi by its own features.

    Args:
        task: The class.
        hits: Its photos, best first.
        index: The archive.
        store: Features of the photos; those that it lacks could not be read.
        encoders: The encoders.
        texts: All text embeddings.
        banks: The banks so far, whose settings and context are used. Their settings of learning
            differ at most in `SEED_SETTINGS`.
        device: Device of co-segmentation.
        corrections: Seeds that the user has set by hand.

    Raises:
        ConceptError: No photo was found, or none can be read.
        RecosegError: A seed set by hand cannot be used.
    """
    photos = [(hit, index.photo(hit.position)) for hit in hits]
    photos = [(hit, photo) for hit, photo in photos if photo.id in store]
    if not hits:
        raise ConceptError(
            f"The index has no photo for {task.words.name!r}: it is empty, or the selection leaves "
            "out all. Index photos with `recoseg index`."
        )
    if not photos:
        raise ConceptError(
            f"None of {count_of(len(hits), 'photos')} retrieved for {task.words.name!r} can be "
            "read. Check that the photos are still at the paths recorded in the index."
        )
    ids = [photo.id for _, photo in photos]
    settings = banks[0].settings.learn
    scores = None
    if settings.guidance:
        positive, negative = (
            store.text_cosines(encoders.saliency, ids, texts[part]).movedim(1, -1)
            for part in (task.positive, task.negative)
        )
        scores = combine_names(positive, negative)
    contexts = [eliminated(task.words, task.role, bank) for bank in banks]
    maps = [store.features(phi, ids) for phi in encoders.phi]
    if settings.mend_outliers:
        maps = [mend_outliers(features) for features in maps]
    provider = seed_regions(settings.regions)
    regions = [
        None if provider is None else torch.stack(provider.regions_of([features]))
        for features in maps
    ]
    kept = still_there(task.words.name, corrections, [photo for _, photo in photos])
    by_hand = {correction.photo_id: correction for correction in kept}
    found: list[dict[str, Cosegmentation]] = [{} for _ in banks]
    for info, features, labels in zip(banks[0].encoders.phi, maps, regions, strict=True):
        choices = [
            _seed_choice(features, scores, bank, [one.references[info.key] for one in context])
            for bank, context in zip(banks, contexts, strict=True)
        ]
        results = cosegment_several(
            features.to(device),
            choices,
            compared=distinctive(features.to(device)) if settings.mend_outliers else None,
            regions=labels,
        )
        for of_phi, choice, result in zip(found, choices, results, strict=True):
            of_phi[info.key] = corrected(
                result.cpu(),
                features,
                [photo for _, photo in photos],
                by_hand,
                form=choice.reference,
                regions=labels,
            )
    learnt = []
    key = banks[0].encoders.phi[0].key
    for of_phi, context in zip(found, contexts, strict=True):
        first = of_phi[key]
        concept = Concept(
            words=task.words,
            role=task.role,
            references={key: result.reference[None] for key, result in of_phi.items()},
            text_positive=texts[task.positive],
            text_negative=texts[task.negative],
            retrieved=_retrieved(photos, first),
            corrections=kept,
        )
        learnt.append(
            LearnedClass(
                concept,
                tuple(hit.position for hit, _ in photos),
                first,
                distinction(maps[0], first.reference, [one.references[key] for one in context]),
            )
        )
    return learnt


def with_evidence(learnt: LearnedClass, spread: Spread | None, place: int) -> LearnedClass:
    """A class with what its photos are compared with; `place` is its place in the spread."""
    if spread is None or not spread.step > 0:
        return learnt
    alike = learnt.cosegmentation.seeds_alike
    evidence = Evidence(spread.photos, spread.medians[place], spread.step, alike)
    return replace(learnt, concept=replace(learnt.concept, evidence=evidence))


def _seed_choice(
    features: Float[Tensor, "k C h w"],
    scores: Float[Tensor, "k gh gw"] | None,
    bank: ConceptBank,
    context: Sequence[Float[Tensor, "_ C"]],
) -> SeedChoice:
    """The bank's choice of seeds, weighted by language guidance and context elimination.

    Args:
        features: Features of one phi.
        scores: Text scores of the same photos; None for no guidance.
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
    return SeedChoice(weights, **{name: getattr(settings, name) for name in SEED_SETTINGS})


def _retrieved(
    photos: Sequence[tuple[Hit, Photo]], result: Cosegmentation
) -> tuple[RetrievedPhoto, ...]:
    retrieved = []
    for row, (hit, photo) in enumerate(photos):
        seeds = [(int(y), int(x)) for y, x in result.seeds[row].tolist() if y != NO_SEED]
        support = tuple(float(result.support[row, y, x]) for y, x in seeds)
        retrieved.append(RetrievedPhoto(photo.path, photo.id, hit.score, tuple(seeds), support))
    return tuple(retrieved)
