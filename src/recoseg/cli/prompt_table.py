"""The table that says which words a decoder finds each class by."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from recoseg.cli.output import say, say_table

if TYPE_CHECKING:
    from recoseg.concepts import Concept

_NOTE = (
    "Dice: how well what the decoder finds by a word fits the regions of the class's photos, 0 to "
    "1. weight: the share of the word in the prompt of the class; 0 for words that are left out. "
    "Words after a - must not be mistaken for the class. threshold: the probability from which a "
    "pixel belongs to the class; mask Dice: how well masks by it fit the regions."
)


def say_prompts(concepts: Iterable[Concept]) -> None:
    """Print the words of the learnt prompts with their scores; nothing where none was learnt."""
    rows: list[tuple[str, ...]] = []
    decoders: dict[str, None] = {}
    for concept in concepts:
        if concept.prompt is None:
            continue
        found = concept.prompt.record
        decoders[f"{found.decoder}, fingerprint {found.fingerprint}"] = None
        whole = (f"{found.threshold:.2f}", f"{found.dice:.2f}", str(len(found.supports)))
        for place, one in enumerate(found.words):
            word = f"-{one.word}" if one.is_negative else one.word
            weight = "" if one.is_negative else f"{one.weight:.2f}"
            first = (concept.name, *whole) if not place else ("",) * 4
            rows.append((first[0], word, f"{one.dice:.2f}", weight, *first[1:]))
    if rows:
        say_table(("class", "word", "Dice", "weight", "threshold", "mask Dice", "photos"), rows)
        say(_NOTE)
        say(f"prompts learnt for: {'; '.join(decoders)}")
