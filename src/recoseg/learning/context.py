"""What the context classes of a bank mean for a class that is learnt: its own words come first."""

from __future__ import annotations

import logging
from dataclasses import replace

from jaxtyping import Float
from torch import Tensor

from recoseg.classes import ClassNames, shared_words
from recoseg.concepts import Concept, ConceptBank, ConceptRole
from recoseg.config import PAPER_RECIPE

_log = logging.getLogger(__name__)


def shared_with_context(words: ClassNames, bank: ConceptBank) -> Concept | None:
    """The context class of the same words as a class, whose references it takes, if there is one.

    By the recipe `paper` the same name is enough, as published.

    Args:
        words: The class.
        bank: The bank it is added to.
    """
    for other in bank.context:
        same_name = other.name == words.name and bank.settings.recipe == PAPER_RECIPE
        if same_name or _same_words(other.words, words):
            return other
    return None


def as_class(
    context: Concept,
    words: ClassNames,
    positive: Float[Tensor, "a d"],
    negative: Float[Tensor, "b d"],
) -> Concept:
    """A class with the references of a context class and words of its own.

    Args:
        context: The context class.
        words: The class.
        positive: Embeddings of its words.
        negative: Embeddings of its negative words.
    """
    return replace(
        context, words=words, role="class", text_positive=positive, text_negative=negative
    )


def eliminated(words: ClassNames, role: ConceptRole, bank: ConceptBank) -> list[Concept]:
    """The context classes that are eliminated while a class is learnt.

    A class does not eliminate what it shares words with, or it would not be learnt from what it is
    about. By the recipe `paper` it does, as published, and so do context classes among themselves.

    Args:
        words: The class.
        role: Whether it is itself a context class.
        bank: The bank with the context classes that have been learnt.
    """
    if role == "context" or bank.settings.recipe == PAPER_RECIPE:
        return list(bank.context)
    alike = [one for one in bank.context if shared_words(words, one.words)]
    if alike:
        _log.warning(
            "The class %s shares words with these context classes, which are therefore not "
            "eliminated from its photos: %s.",
            words.name,
            ", ".join(one.name for one in alike),
        )
    return [one for one in bank.context if not shared_words(words, one.words)]


def _same_words(one: ClassNames, other: ClassNames) -> bool:
    """Whether two classes have the same words, such as `vegetation: tree` and `tree`."""
    return (set(one.prompts), set(one.negatives)) == (set(other.prompts), set(other.negatives))
