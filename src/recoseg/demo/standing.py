"""How well the demo knows a class, with the reasons in plain words."""

from __future__ import annotations

from dataclasses import dataclass

from recoseg.concepts import Concept

LEAST_ALIKE = 0.2
"""Mean cosine between the seeds of a class in different photos below which they show different
things."""


@dataclass(frozen=True)
class Standing:
    """Whether a class is weak, and why.

    Attributes:
        weak: Whether there is a reason to doubt its masks.
        reasons: Sentences: the reasons, or what speaks for the class.
    """

    weak: bool
    reasons: tuple[str, ...]


def standing(concept: Concept, found: int, photos: int) -> Standing:
    """Say how well a class is known from the photos that it was learnt from.

    In archives that are large enough for `recoseg.evidence.judge`, its verdict counts. In smaller
    ones a class is weak unless two photos, and at least half of those that were retrieved, stand
    out by the same limit. A class is also weak if its seeds show different things, or if it was
    found in no photo.

    Args:
        concept: The class.
        found: Number of segmented photos in which it was found.
        photos: Number of segmented photos.
    """
    verdict, evidence = concept.verdict, concept.evidence
    count, k = verdict.stand_out, len(concept.retrieved)
    reasons = []
    if verdict.judgement in ("weak", "probably absent"):
        reasons.append(verdict.advice)
    elif verdict.judgement == "unknown" and k < 2:
        reasons.append("It was learnt from one photo, so nothing in common could be looked for.")
    elif verdict.judgement == "unknown" and (count < 2 or 2 * count < k):
        fit = {0: "None", 1: "Only one"}.get(count, f"Only {count}")
        reasons.append(
            f"{fit} of its {k} retrieved photos {'fits' if count < 2 else 'fit'} the words clearly "
            "better than the rest of the archive does; it seems to hold too few photos of it."
        )
    if evidence is not None and k > 1 and evidence.seeds_alike < LEAST_ALIKE:
        reasons.append(
            "What was taken for it differs from photo to photo "
            f"(cosine {evidence.seeds_alike:.2f}, at least {LEAST_ALIKE} is expected)."
        )
    if not found:
        reasons.append(f"It was found in none of the {photos:,} photos.")
    if reasons:
        return Standing(True, tuple(reasons))
    fit = f"{count} of its {k}" if count < k else "Both" if k == 2 else f"All {k}"
    what = "fit the words clearly better than the rest of the archive does"
    return Standing(False, (f"{fit} retrieved photos {what}.",))
