"""The table that says how well an archive shows each class."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from recoseg.cli.output import say, say_table

if TYPE_CHECKING:
    from recoseg.concepts import Concept

_NOTE = (
    "at 1, at 10, at k: how many steps better than a typical photo of the archive the best, the "
    "tenth and the last photo fit the class's words; a step is how far scores usually scatter. A "
    "photo that is {limit:g} steps better stands out. seeds alike: mean cosine between the seeds "
    "of different photos. A class is good if at least half of its photos stand out. To see the "
    "photos, use --figures or `recoseg retrieve`."
)


def say_verdicts(concepts: Iterable[Concept]) -> None:
    """Print the verdict on each class, and what to do for classes that are not good."""
    from recoseg.evidence import STANDS_OUT

    rows: list[tuple[str, ...]] = []
    advice: dict[str, list[str]] = {}
    for concept in concepts:
        verdict = concept.verdict
        k = len(verdict.heights)
        evidence = concept.evidence
        rows.append(
            (
                concept.name if concept.role == "class" else f"{concept.name} (context)",
                *(_number(verdict.height(rank)) for rank in (1, 10, k)),
                f"{verdict.stand_out} of {k}" if k else "",
                "" if evidence is None else f"{evidence.seeds_alike:.2f}",
                verdict.judgement,
            )
        )
        if verdict.advice and concept.role == "class":
            advice.setdefault(verdict.advice, []).append(concept.name)
    if not any(row[4] for row in rows):  # nothing was measured, as in banks of earlier versions
        return
    say_table(("class", "at 1", "at 10", "at k", "stand out", "seeds alike", "verdict"), rows)
    say(_NOTE.format(limit=STANDS_OUT))
    for sentence, names in advice.items():
        say(f"{', '.join(names)}: {sentence}")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"
