"""How well the demo knows a class, with the reasons in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg.concepts import Concept
from recoseg.evidence import LEAST_ARCHIVE, Judgement

LEAST_ALIKE = 0.2
"""Mean cosine between the seeds of a class in different photos below which they show different
things."""


@dataclass(frozen=True)
class Standing:
    """How well a class is known, and why.

    Attributes:
        judgement: See `Judgement`; `weak` also if the masks are doubtful for another reason.
        reasons: Sentences: the reasons, or what speaks for the class.
    """

    judgement: Judgement
    reasons: tuple[str, ...]


def standing(concept: Concept, found: int, photos: int) -> Standing:
    """Say how well a class is known from the photos that it was learnt from.

    In archives that are large enough for `recoseg.evidence.judge`, its verdict counts. In smaller
    ones a class is good if two photos, and at least half of those that were retrieved, stand out by
    the same limit, and weak otherwise. A class is also weak if its seeds show different things, or
    if it was found in no photo.

    Args:
        concept: The class.
        found: Number of segmented photos in which it was found.
        photos: Number of segmented photos.
    """
    judgement, reasons = _by_photos(concept)
    doubts = []
    evidence = concept.evidence
    if evidence is not None and len(concept.retrieved) > 1 and evidence.seeds_alike < LEAST_ALIKE:
        doubts.append(
            "What was taken for it differs from photo to photo "
            f"(cosine {evidence.seeds_alike:.2f}, at least {LEAST_ALIKE} is expected)."
        )
    if not found:
        doubts.append(f"It was found in none of the {photos:,} photos.")
    if doubts and judgement == "good":
        return Standing("weak", tuple(doubts))
    if doubts and judgement == "unknown":
        judgement = "weak"
    return Standing(judgement, (*reasons, *doubts))


def _by_photos(concept: Concept) -> tuple[Judgement, tuple[str, ...]]:
    """What the retrieved photos say of a class, and the reasons."""
    verdict, evidence = concept.verdict, concept.evidence
    count, k = verdict.stand_out, len(concept.retrieved)
    small = evidence is not None and evidence.photos < LEAST_ARCHIVE
    if verdict.judgement == "unknown" and k < 2:
        reason = "It was learnt from one photo, so nothing in common could be looked for."
        return "unknown", (reason,)
    if verdict.judgement == "unknown" and small and (count < 2 or 2 * count < k):
        fit = {0: "None", 1: "Only one"}.get(count, f"Only {count}")
        return "weak", (
            f"{fit} of its {k} retrieved photos {'fits' if count < 2 else 'fit'} the words clearly "
            "better than the rest of the archive does; it seems to hold too few photos of it.",
        )
    if verdict.judgement != "good" and not small:
        return verdict.judgement, (verdict.advice,)
    fit = f"{count} of its {k}" if count < k else "Both" if k == 2 else f"All {k}"
    what = "fit the words clearly better than the rest of the archive does"
    return "good", (f"{fit} retrieved photos {what}.",)
