"""What an archive shows of a class before it is learnt."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg.archive.index import ArchiveIndex
from recoseg.classes import ClassNames
from recoseg.config import LearnSettings
from recoseg.encoders.protocols import ImageTextEncoder
from recoseg.evidence import Evidence, Verdict, judge
from recoseg.retrieval.class_texts import ClassTexts
from recoseg.retrieval.duplicates import Hit
from recoseg.retrieval.retriever import retrieve
from recoseg.retrieval.spread import measure, until_evidence_ends


@dataclass(frozen=True)
class Preview:
    """The photos of a class, and what can be said of them.

    Attributes:
        hits: The photos, best first.
        verdict: Whether the archive shows the class, as `learn` judges it with the same settings.
    """

    hits: tuple[Hit, ...]
    verdict: Verdict


def preview(
    index: ArchiveIndex,
    words: ClassNames,
    retrieval: ImageTextEncoder,
    settings: LearnSettings,
    k: int,
) -> Preview:
    """Find the photos that a class would be learnt from, and judge them.

    Args:
        index: The archive.
        words: The class.
        retrieval: The encoder that made the index.
        settings: The settings that the class would be learnt with.
        k: Number of photos to return. The verdict is on those that the class is learnt from.

    Raises:
        ConceptError: The encoder knows none of the words.
    """
    queries = ClassTexts.of([words]).queries(retrieval, settings.prompts)
    most = max(k, settings.k)
    [hits] = retrieve(index, queries, most, skip_duplicates=settings.skip_duplicates or False)
    spread = measure(index, queries, retrieval, settings.prompts)
    evidence = None
    if spread is not None and spread.step > 0:
        # No seeds are compared yet; the judgement does not depend on them.
        evidence = Evidence(spread.photos, spread.medians[0], spread.step, seeds_alike=0.0)
    [learnt] = until_evidence_ends([hits[: settings.k]], spread, settings.least_k)
    verdict = judge([hit.score for hit in learnt], evidence, words.prompts)
    return Preview(tuple(hits[:k]), verdict)
